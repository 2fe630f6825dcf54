//! One measurement in one sentence, for somebody who has never seen a packet.

use okno_lab::score::{Finding, Judged};
use okno_model::State;
use serde_json::{Value, json};

use crate::report::{Lang, mechanisms};

/// A verdict as JSON.
pub fn verdict(finding: &Finding) -> Value {
    json!({
        "layer": finding.layer.as_str(), "state": finding.state.as_str(), "mechanism": finding.mechanism,
        "probability": finding.probability, "rule": finding.rule, "host": finding.host,
    })
}

/// The sentence. `compared` tells whether a helper looked at the same target from elsewhere.
pub fn sentence(target: &str, judged: &Judged, compared: bool, lang: Lang) -> String {
    let summary = &judged.summary;
    let percent = (summary.probability * 100.0).round();
    let why = summary.mechanism.as_deref().and_then(|path| mechanisms::clause(path, lang));
    let one = match lang {
        Lang::En => "One measurement is no verdict: try again later and from another network.",
        Lang::Ru => "Одно измерение — ещё не вывод: повторите позже и из другой сети.",
    };
    let because = why.map(|why| format!(": {why}")).unwrap_or_default();
    match (summary.state, lang) {
        (State::Blocked, Lang::En) => format!("{target} looks blocked here ({percent} %){because}. {one}"),
        (State::Blocked, Lang::Ru) => format!("{target}: похоже на блокировку ({percent} %){because}. {one}"),
        (State::Throttled, Lang::En) => {
            format!("{target} looks slowed down here ({percent} %){because}. {one}")
        }
        (State::Throttled, Lang::Ru) => {
            format!("{target}: похоже на замедление ({percent} %){because}. {one}")
        }
        (State::Down, Lang::En) => {
            format!(
                "{target} did not work, and it looks like trouble of the site itself, not of this network."
            )
        }
        (State::Down, Lang::Ru) => {
            format!("{target} не работает, и похоже, что дело в самом сайте, а не в этой сети.")
        }
        (State::Ok, Lang::En) => format!("{target} works here."),
        (State::Ok, Lang::Ru) => format!("{target} здесь работает."),
        (State::Insufficient, Lang::En) if !compared => format!(
            "{target}: this measurement does not tell, for nobody looked at it from elsewhere; name a --helper."
        ),
        (State::Insufficient, Lang::Ru) if !compared => {
            format!("{target}: по этому измерению не сказать, ведь сравнить не с чем; укажите --helper.")
        }
        (State::Insufficient, Lang::En) => format!("{target}: this measurement does not tell. {one}"),
        (State::Insufficient, Lang::Ru) => format!("{target}: по этому измерению не сказать. {one}"),
    }
}
