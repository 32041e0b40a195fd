//! Rows for the servers that only have to be big: nested records of about 400 bytes, and wide or mixed CSV.

use std::fmt::Write as _;

use crate::seeded::Seeded;

const WORDS: [&str; 16] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbour", "island", "juniper", "kelp",
    "lagoon", "meadow", "nectar", "orchard", "prairie",
];

fn words(random: &mut Seeded, count: usize) -> String {
    let chosen: Vec<&str> = (0..count).map(|_| random.pick(&WORDS)).collect();
    chosen.join(" ")
}

/// One nested row of about 400 bytes, as JSON.
pub fn nested_row(id: u64, random: &mut Seeded) -> String {
    let (lat, lon) = (random.below(180_000_000), random.below(360_000_000));
    let note = if random.below(4) == 0 { "null".to_owned() } else { format!("\"{}\"", words(random, 6)) };
    let day = 1 + random.below(28);
    let second = random.below(60);
    let (name, city, street) = (words(random, 2), random.pick(&WORDS), words(random, 2));
    format!(
        concat!(
            r#"{{"id":{id},"name":"{name}","active":{active},"score":{score}.{cents:02},"#,
            r#""created":"2024-{month:02}-{day:02}T07:15:{second:02}Z","note":{note},"#,
            r#""address":{{"street":"{street} {number}","city":"{city}","zip":"{zip:05}","#,
            r#""geo":{{"lat":{lat}.{cents:02},"lon":{lon}.5}}}},"tags":["{tag}","{city}"],"#,
            r#""lines":[{{"sku":"SKU-{sku:06}","quantity":{quantity},"price":{price}.99}},"#,
            r#"{{"sku":"SKU-{zip:06}","quantity":1,"price":12.5}}]}}"#,
        ),
        id = id,
        name = name,
        active = random.below(2) == 0,
        score = random.below(1000),
        cents = random.below(100),
        month = 1 + random.below(12),
        day = day,
        second = second,
        note = note,
        street = street,
        number = random.below(300),
        city = city,
        zip = random.below(100_000),
        lat = lat / 1_000_000,
        lon = lon / 1_000_000,
        tag = random.pick(&WORDS),
        sku = random.below(1_000_000),
        quantity = 1 + random.below(20),
        price = random.below(500),
    )
}

/// `count` nested rows, each followed by a comma.
pub fn nested_rows(count: u64, random: &mut Seeded) -> String {
    let mut text = String::new();
    for id in 0..count {
        text.push_str(&nested_row(id, random));
        text.push(',');
    }
    text
}

/// The header of [`mixed_csv_line`].
pub const MIXED_CSV_HEADER: &str = "id,customer,email,active,amount,quantity,ratio,created,day,country,city,\
status,comment,code,price,discount,score,visits,referrer,updated\n";

/// One line of 20 mixed columns of about 220 bytes: quoted texts with commas, quotes and line ends, numbers, times, gaps.
pub fn mixed_csv_line(id: u64, random: &mut Seeded, line: &mut String) {
    let comment = match random.below(8) {
        0 => format!("\"{}, \"\"{}\"\" and {}\"", words(random, 2), random.pick(&WORDS), words(random, 3)),
        1 => format!("\"{}\n{}\"", words(random, 3), words(random, 3)),
        2 => String::new(),
        _ => format!("\"{}\"", words(random, 7)),
    };
    let (day, month) = (1 + random.below(28), 1 + random.below(12));
    let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
    let gap = random.below(10) == 0;
    let discount = if gap { String::new() } else { format!("0.{:02}", random.below(50)) };
    let _ = writeln!(
        line,
        concat!(
            "{id},\"{customer}\",{mail}{id}@example.com,{active},{amount}.{cents:02},{quantity},0.{ratio:06},",
            "2024-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z,2024-{month:02}-{day:02},{country},\"{city}\",",
            "{status},{comment},C-{code:07},{price}.5,{discount},{score},{visits},\"https://{referrer}.example.com/a?b=1,2\",",
            "2025-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}",
        ),
        id = id,
        customer = words(random, 2),
        mail = random.pick(&WORDS),
        active = if random.below(2) == 0 { "true" } else { "false" },
        amount = random.below(100_000),
        cents = random.below(100),
        quantity = random.below(1000),
        ratio = random.below(1_000_000),
        month = month,
        day = day,
        hour = hour,
        minute = minute,
        second = second,
        country = random.pick(&["at", "de", "fr", "it", "us", "jp"]),
        city = random.pick(&WORDS),
        status = random.pick(&["open", "paid", "closed"]),
        comment = comment,
        code = random.below(10_000_000),
        price = random.below(10_000),
        discount = discount,
        score = random.below(1_000_000),
        visits = random.below(100),
        referrer = random.pick(&WORDS),
    );
}

/// Writes a CSV file of mixed columns that is at least `bytes` long, and says how many rows it has.
///
/// # Errors
/// The file cannot be written.
pub fn write_mixed_csv(path: &std::path::Path, bytes: u64) -> std::io::Result<u64> {
    use std::io::Write as _;
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    file.write_all(MIXED_CSV_HEADER.as_bytes())?;
    let mut random = Seeded::new(20);
    let (mut written, mut rows) = (MIXED_CSV_HEADER.len() as u64, 0);
    let mut line = String::new();
    while written < bytes {
        line.clear();
        mixed_csv_line(rows, &mut random, &mut line);
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
        rows += 1;
    }
    file.flush()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::{MIXED_CSV_HEADER, mixed_csv_line, nested_row};
    use crate::seeded::Seeded;

    #[test]
    fn a_nested_row_is_json_of_about_400_bytes() {
        let mut random = Seeded::new(1);
        let lengths: Vec<usize> = (0..200)
            .map(|id| {
                let row = nested_row(id, &mut random);
                serde_json::from_str::<serde_json::Value>(&row).unwrap();
                row.len()
            })
            .collect();
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!((360..440).contains(&mean), "{mean}");
    }

    #[test]
    fn a_csv_line_has_as_many_fields_as_the_header() {
        let (mut random, mut line) = (Seeded::new(1), String::new());
        for id in 0..50 {
            line.clear();
            mixed_csv_line(id, &mut random, &mut line);
            let mut quoted = false;
            let commas = line.chars().filter(|&c| {
                quoted ^= c == '"';
                c == ',' && !quoted
            });
            assert_eq!(commas.count(), MIXED_CSV_HEADER.matches(',').count(), "{line}");
        }
    }
}
