//! A measurement in one row, and how that maps to the words of OONI's own results.
//!
//! | here | OONI |
//! |---|---|
//! | state blocked or throttled, probability ≥ 0.5 | `anomaly` true |
//! | of these, with a block-page fingerprint expected in the country | `confirmed` true |
//! | layer dns | `blocking` `dns` |
//! | layer tcp | `tcp_ip` |
//! | layer tls, quic, http by failure or speed | `http-failure` |
//! | http.blockpage, http.redirect, http.error, http.tampering | `http-diff` |
//! | state ok or down | `false` |
//! | state insufficient, layer app | null |
//!
//! OONI says `blocking: false` for a site that is down; so does this mapping. Its `confirmed` also counts
//! scope `isp` and `nat` in any country (fastpath), which accuses travellers' pages; here the country counts.

use std::borrow::Cow;

use okno_model::{Layer, State, Verdict};

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// the most alarming state of its verdicts
    pub state: State,
    /// layer of the verdict that decides; `None` without verdicts
    pub layer: Option<Layer>,
    /// its mechanism
    pub mechanism: Option<String>,
    /// its probability
    pub probability: f64,
    /// OONI's `anomaly`
    pub anomaly: bool,
    /// OONI's `confirmed`
    pub confirmed: bool,
    /// OONI's `blocking`: `dns`, `tcp_ip`, `http-failure`, `http-diff`, `false`; `None` for null
    pub blocking: Option<&'static str>,
}

/// Sums the verdicts of one measurement up: the most alarming state, then the most probable, then the earlier
/// hop and the lower layer. It is `ok` only if its last step is: a name that resolves says nothing of a page
/// that did not come, so there the last step's `insufficient` stands for all.
pub fn sum_up(verdicts: &[Verdict<'_>]) -> Summary {
    let Some(worst) = verdicts.iter().reduce(|best, next| if is_worse(next, best) { next } else { best })
    else {
        return Summary::default();
    };
    let last =
        verdicts.iter().max_by_key(|verdict| (verdict.layer == Layer::App, verdict.hop, verdict.layer));
    let worst = match last {
        Some(last) if worst.state == State::Ok && last.state == State::Insufficient => last,
        _ => worst,
    };
    let anomaly = worst.state.is_interference() && worst.probability >= 0.5;
    // Only rules about pages and addresses of block pages carry a fingerprint into an accusation.
    let confirmed = anomaly
        && verdicts.iter().any(|verdict| {
            verdict.state == State::Blocked && verdict.fingerprint.is_some() && names_page(&verdict.mechanism)
        });
    Summary {
        state: worst.state,
        layer: Some(worst.layer),
        mechanism: worst.mechanism.as_deref().map(str::to_owned),
        probability: worst.probability,
        anomaly,
        confirmed,
        blocking: blocking(worst),
    }
}

fn is_worse(a: &Verdict<'_>, b: &Verdict<'_>) -> bool {
    let rank = |v: &Verdict<'_>| (v.state, std::cmp::Reverse(v.hop), std::cmp::Reverse(v.layer));
    match a.state.cmp(&b.state).then(a.probability.total_cmp(&b.probability)) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => rank(a) > rank(b),
    }
}

fn names_page(mechanism: &Option<Cow<'_, str>>) -> bool {
    matches!(mechanism.as_deref(), Some("dns.injection.blockpage" | "http.blockpage" | "http.redirect"))
}

fn blocking(verdict: &Verdict<'_>) -> Option<&'static str> {
    match (verdict.state, verdict.layer) {
        (State::Insufficient, _) | (_, Layer::App) => None,
        (State::Ok | State::Down, _) => Some("false"),
        (_, Layer::Dns) => Some("dns"),
        (_, Layer::Tcp) => Some("tcp_ip"),
        (_, Layer::Tls | Layer::Quic) => Some("http-failure"),
        (_, Layer::Http) => match verdict.mechanism.as_deref() {
            Some("http.blockpage" | "http.redirect" | "http.error" | "http.tampering") => Some("http-diff"),
            _ => Some("http-failure"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(layer: Layer, state: State, mechanism: &'static str, probability: f64) -> Verdict<'static> {
        let mechanism = state.is_interference().then_some(mechanism.into());
        Verdict { layer, state, mechanism, probability, ..Verdict::default() }
    }

    #[test]
    fn the_most_alarming_verdict_stands_for_the_measurement() {
        let summary = sum_up(&[
            verdict(Layer::Dns, State::Ok, "", 0.99),
            verdict(Layer::Tcp, State::Down, "", 0.9),
            verdict(Layer::Tls, State::Blocked, "tls.reset", 0.8),
            verdict(Layer::Http, State::Insufficient, "", 0.5),
        ]);
        assert_eq!((summary.state, summary.layer), (State::Blocked, Some(Layer::Tls)));
        assert_eq!(summary.blocking, Some("http-failure"));
        assert!(summary.anomaly && !summary.confirmed);
    }

    #[test]
    fn nothing_known_is_null_and_no_anomaly() {
        assert_eq!(sum_up(&[]), Summary::default());
        let summary = sum_up(&[verdict(Layer::Dns, State::Insufficient, "", 0.5)]);
        assert_eq!((summary.anomaly, summary.blocking), (false, None));
    }

    #[test]
    fn good_names_do_not_make_up_for_a_page_that_cannot_be_judged() {
        let names = verdict(Layer::Dns, State::Ok, "", 0.97);
        let page = verdict(Layer::Http, State::Insufficient, "", 0.5);
        assert_eq!(sum_up(&[names.clone(), page]).state, State::Insufficient);
        let (unsure, good) =
            (verdict(Layer::Dns, State::Insufficient, "", 0.5), verdict(Layer::Http, State::Ok, "", 0.9));
        assert_eq!(sum_up(&[unsure, good]).state, State::Ok);
    }

    #[test]
    fn a_fingerprint_confirms_only_where_it_accuses() {
        let mut page = verdict(Layer::Http, State::Blocked, "http.blockpage", 0.97);
        page.fingerprint = Some("ru.isp".into());
        assert!(sum_up(&[page.clone()]).confirmed);
        page.state = State::Insufficient;
        page.mechanism = None;
        assert!(!sum_up(&[page]).confirmed);
    }
}
