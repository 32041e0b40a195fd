//! Refuses names that the ledger does not know: an empty list would look like an answer.

use dil_engine::LedgerView;

use crate::exit::{Failure, usage};

/// Fails unless the ledger knows the flow, and the stage of it, where they are given.
pub(super) fn refuse_unknown(
    ledger: &LedgerView,
    flow: Option<&str>,
    stage: Option<&str>,
) -> Result<(), Failure> {
    let names = ledger.names()?;
    if let Some(flow) = flow
        && !names.iter().any(|(known, _)| known == flow)
    {
        let mut known: Vec<&str> = names.iter().map(|(flow, _)| flow.as_str()).collect();
        known.dedup();
        return Err(unknown("flow", flow, &known));
    }
    let of_flow = names.iter().filter(|(known, _)| flow.is_none_or(|flow| known == flow));
    let known: Vec<&str> = of_flow.filter_map(|(_, stage)| stage.as_deref()).collect();
    match stage {
        Some(stage) if !known.contains(&stage) => Err(unknown("stage", stage, &known)),
        _ => Ok(()),
    }
}

fn unknown(kind: &str, name: &str, known: &[&str]) -> Failure {
    let hint = if known.is_empty() {
        "nothing is recorded yet; is it another ledger (--state)?".to_owned()
    } else {
        format!("recorded are {}", known.join(", "))
    };
    usage(&format!("state/no-{kind}"), format!("the ledger knows no {kind} `{name}`")).hint(hint).into()
}
