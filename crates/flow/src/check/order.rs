//! The order of the stages: after those whose rows they use.

use dil_model::config::{Flow, Stage};

use super::report::{At, Report};

/// The stages in an order in which they can run; a circle is reported once, by its members.
pub(crate) fn order(flow: &Flow, report: &mut Report) -> Vec<String> {
    let mut order: Vec<String> = Vec::with_capacity(flow.stages.len());
    let mut waiting: Vec<&String> = flow.stages.keys().collect();
    loop {
        let ready = |name: &String| {
            let upstream = upstream(flow.stages.get(name));
            upstream.is_none_or(|upstream| {
                order.iter().any(|done| done == upstream) || !flow.stages.contains_key(upstream)
            })
        };
        let Some(next) = waiting.iter().position(|name| ready(name)) else { break };
        order.push(waiting.remove(next).clone());
    }
    let mut reported: Vec<&str> = Vec::new();
    for name in &waiting {
        if let Some(circle) =
            circle(flow, name).filter(|circle| !circle.iter().any(|member| reported.contains(member)))
        {
            let drawn = circle
                .iter()
                .chain(circle.first())
                .map(|member| format!("`{member}`"))
                .collect::<Vec<_>>()
                .join(" → ");
            let message = match circle.as_slice() {
                [one] => format!("`{one}` uses its own rows"),
                _ => format!("these stages use each other's rows in a circle: {drawn}"),
            };
            let at = At::default().key("stages").key(name).key("units").key("each").key("rows_of");
            report.value("stage/circle", &at, message, "one of them must take its values from elsewhere");
            reported.extend(circle);
        }
    }
    order
}

fn upstream(stage: Option<&Stage>) -> Option<&str> {
    stage?.units.as_ref()?.each.as_ref()?.rows_of.as_deref()
}

/// The circle that `start` is in; a stage that only leads into one has none.
fn circle<'a>(flow: &'a Flow, start: &'a str) -> Option<Vec<&'a str>> {
    let mut members = vec![start];
    while let Some(next) = upstream(flow.stages.get(*members.last()?)) {
        if next == start {
            return Some(members);
        }
        if members.contains(&next) {
            return None;
        }
        members.push(next);
    }
    None
}
