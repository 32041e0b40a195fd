//! What the service was asked for, by its own ledger.

use std::collections::{BTreeMap, BTreeSet};

use super::service::Served;
use crate::quantity::count;
use crate::table::Table;
use crate::terminal::Paint;

/// What one run asked of one station.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) months: BTreeSet<String>,
    pub(super) requests: u64,
    pub(super) rows: u64,
}

/// What one run asked, by station; the list of stations is under the empty name.
pub(super) type Tally = BTreeMap<String, Asked>;

/// Adds up a ledger.
pub(super) fn tally(ledger: &[Served]) -> Tally {
    let mut tally = Tally::new();
    for served in ledger {
        let asked = tally.entry(served.station.clone().unwrap_or_default()).or_default();
        asked.requests += 1;
        asked.rows += served.rows;
        asked.months.insert(served.month.clone());
    }
    tally
}

/// Two runs side by side.
pub(super) fn shown(paint: Paint, first: &Tally, second: &Tally) -> String {
    let columns = ["asked for", "run 1: months", "requests#", "rows#", "run 2: months", "requests#", "rows#"];
    let mut table = Table::new(&columns);
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    for name in names {
        let what = if name.is_empty() { "stations".to_owned() } else { format!("{name} observations") };
        let mut cells = vec![what];
        for tally in [first, second] {
            cells.extend(match tally.get(name) {
                Some(asked) => [months(&asked.months), count(asked.requests), count(asked.rows)],
                None => ["–", "–", "–"].map(str::to_owned),
            });
        }
        table.row(cells);
    }
    table.render(paint, "  ")
}

fn months(months: &BTreeSet<String>) -> String {
    match (months.first(), months.last()) {
        (Some(only), _) if months.len() == 1 => only.clone(),
        (Some(first), Some(last)) => format!("{first} … {last}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_month_are_one_month_and_several_requests() {
        let page = |month: &str, rows| Served { station: Some("EWR".into()), month: month.into(), rows };
        let tally = tally(&[page("2013-01", 500), page("2013-01", 237), page("2013-02", 10)]);
        let asked = &tally["EWR"];
        assert_eq!((asked.months.len(), asked.requests, asked.rows), (2, 3, 747));
        assert_eq!(months(&asked.months), "2013-01 … 2013-02");
    }
}
