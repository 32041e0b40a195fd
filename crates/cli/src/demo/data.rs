//! The bundled data: hourly weather at New York's airports in 2013. `data/README.md` tells where it is from.

use std::io::Read as _;

use dil_model::{Error, ErrorKind, Result};
use flate2::read::GzDecoder;
use jiff::Timestamp;

const WEATHER: &[u8] = include_bytes!("../../data/weather.csv.gz");

/// The numbers of a row after station and time.
const MEASURES: [&str; 8] =
    ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"];

/// An airport.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// In the order of their times.
    pub(super) observations: Vec<Observation>,
}

/// One hour at one airport.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) time: Timestamp,
    /// As the service spells it.
    pub(super) json: String,
}

/// All stations with their observations.
///
/// # Errors
/// `Internal` if the bundled file is broken.
pub(super) fn stations() -> Result<Vec<Station>> {
    let mut text = String::new();
    GzDecoder::new(WEATHER).read_to_string(&mut text).map_err(|cause| broken(&cause.to_string()))?;
    let mut stations = vec![
        Station { id: "EWR", name: "Newark Liberty", observations: Vec::new() },
        Station { id: "JFK", name: "John F. Kennedy", observations: Vec::new() },
        Station { id: "LGA", name: "LaGuardia", observations: Vec::new() },
    ];
    for line in text.lines().skip(1) {
        let (id, observation) = observation(line).ok_or_else(|| broken(line))?;
        let station = stations.iter_mut().find(|station| station.id == id).ok_or_else(|| broken(line))?;
        station.observations.push(observation);
    }
    Ok(stations)
}

fn observation(line: &str) -> Option<(&str, Observation)> {
    let mut fields = line.split(',');
    let (id, time) = (fields.next()?, fields.next()?);
    let mut json = format!("{{\"time\":\"{time}\"");
    for (name, field) in MEASURES.iter().zip(fields) {
        let value = match field {
            "" => "null".to_owned(),
            // A measure is a real number, and is spelt as one even if it happens to be whole.
            whole if *name != "wind_dir" && !whole.contains('.') => format!("{whole}.0"),
            number => number.to_owned(),
        };
        json.push_str(&format!(",\"{name}\":{value}"));
    }
    json.push('}');
    Some((id, Observation { time: time.parse().ok()?, json }))
}

fn broken(what: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        "internal/demo-data",
        format!("the bundled weather cannot be read: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_year_of_three_airports_in_order() {
        let stations = stations().unwrap();
        let counts: Vec<(&str, usize)> =
            stations.iter().map(|station| (station.id, station.observations.len())).collect();
        assert_eq!(counts, [("EWR", 8_703), ("JFK", 8_706), ("LGA", 8_706)]);
        for station in &stations {
            assert!(station.observations.is_sorted_by(|a, b| a.time < b.time), "{}", station.id);
        }
    }

    #[test]
    fn a_row_is_spelt_with_its_types() {
        let (station, row) =
            observation("EWR,2013-01-01T06:00:00Z,39.02,26.06,59.37,270,10.36,0,,10").unwrap();
        assert_eq!(station, "EWR");
        assert_eq!(
            row.json,
            "{\"time\":\"2013-01-01T06:00:00Z\",\"temp\":39.02,\"dewp\":26.06,\"humid\":59.37,\"wind_dir\":270,\
             \"wind_speed\":10.36,\"precip\":0.0,\"pressure\":null,\"visib\":10.0}"
        );
    }
}
