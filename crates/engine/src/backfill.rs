//! A flow with another range, for a backfill.

use dil_flow::Checked;
use dil_model::setting::Bound;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The flow with `from` and `to` in place of those of every stage that is divided by time.
///
/// # Errors
/// `Config` if one of them is no instant, nothing is between them, or no stage is divided by time.
pub fn with_range(flow: &Checked, from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<Checked> {
    let mut flow = flow.clone();
    let times = flow.flow.stages.values_mut().filter_map(|stage| stage.units.as_mut()?.time.as_mut());
    let mut any = false;
    for time in times {
        any = true;
        if let Some(from) = from {
            from.clone_into(&mut time.from);
        }
        if let Some(to) = to {
            to.clone_into(&mut time.to);
        }
        let zone = TimeZone::get(&time.timezone).unwrap_or(TimeZone::UTC);
        let at = |text: &str| {
            Bound::parse(text).and_then(|bound| bound.resolve(now, &zone)).ok_or_else(|| {
                Error::new(ErrorKind::Config, "run/range", format!("`{text}` is not an instant"))
                    .hint("write a date (2024-01-31), a date and time, `now`, or how long before now (P30D)")
            })
        };
        if at(&time.from)? >= at(&time.to)? {
            let message = format!("nothing is between {} and {}", time.from, time.to);
            return Err(Error::new(ErrorKind::Config, "run/range", message)
                .hint("the range begins at --from and ends before --to"));
        }
    }
    if !any {
        let message = "no stage of the flow is divided by time, so there is no range to give";
        return Err(Error::new(ErrorKind::Config, "run/range", message).hint("leave --from and --to out"));
    }
    Ok(flow)
}
