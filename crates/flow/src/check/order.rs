//! The order of the stages: after those whose rows they use.

use dil_model::config::{Flow, Stage};

use super::report::{At, Report};

/// The stages in an order in which they can run; a circle is reported once, by its members.
pub(crate) fn order(flow: &Flow, report: &mut Report) -> Vec<String> {
    let mut order: Vec<String> = Vec::with_capacity(flow.stages.len());
    let mut waiting: Vec<&String> = flow.stages.keys().collect();
    loop {
        let ready = |name: &String| {
            let done = |upstream: &str| {
                order.iter().any(|done| done == upstream) || !flow.stages.contains_key(upstream)
            };
            upstreams(flow, name).into_iter().all(done)
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

fn upstreams<'a>(flow: &'a Flow, name: &str) -> Vec<&'a str> {
    flow.stages.get(name).map(Stage::upstreams).unwrap_or_default()
}

/// The circle that `start` is in; a stage that only leads into one has none.
fn circle<'a>(flow: &'a Flow, start: &'a str) -> Option<Vec<&'a str>> {
    let mut members = vec![start];
    closes(flow, start, &mut members).then_some(members)
}

/// Goes on from the last member until it is back at the first one; every stage is tried once.
fn closes<'a>(flow: &'a Flow, start: &str, members: &mut Vec<&'a str>) -> bool {
    let mut dead_ends: Vec<&str> = Vec::new();
    while let Some(last) = members.last() {
        let next = upstreams(flow, last);
        if next.contains(&start) {
            return true;
        }
        let untried = |name: &&str| {
            flow.stages.contains_key(*name) && !members.contains(name) && !dead_ends.contains(name)
        };
        match next.into_iter().find(untried) {
            Some(name) => members.push(name),
            None => dead_ends.extend(members.pop()),
        }
    }
    false
}
