//! Second answers to one question (web_connectivity's `x_dns_duplicate_responses`): a resolver answers once,
//! so another answer that says something else was written by somebody on the way.

use std::collections::BTreeSet;

use super::operations::query;
use super::raw::{Query, Raw, Value};
use crate::json::{Broken, Reader};

/// Most second answers that are read.
const MOST: usize = 256;

/// The second answers of a measurement, read tolerantly: what breaks ends the list.
pub fn answers<'a>(raw: &Raw<'a>) -> Vec<Query<'a>> {
    let Some(Value::Raw(part)) = raw.key("x_dns_duplicate_responses") else { return Vec::new() };
    let mut late = Vec::new();
    let mut reader = Reader::part(*part);
    let mut run = || -> Result<(), Broken> {
        if reader.enter_array()? {
            while reader.next_element()? {
                if late.len() < MOST && reader.enter_object()? {
                    late.push(query(&mut reader, None)?);
                } else if late.len() >= MOST {
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    // The part was balanced when it was taken.
    let _ = run();
    late
}

/// Whether a second answer to this lookup said something else; `None` without one.
pub fn differs(late: &[Query<'_>], first: &Query<'_>) -> Option<bool> {
    let is_same = |other: &&Query<'_>| {
        first.common.transaction != 0
            && other.common.transaction == first.common.transaction
            && other.query_type == first.query_type
            && other.hostname == first.hostname
    };
    let mut others = late.iter().filter(is_same).peekable();
    others.peek()?;
    let addresses = |query: &Query<'_>| -> BTreeSet<String> {
        query.answers.iter().filter_map(|answer| answer.ip.as_deref().map(str::to_owned)).collect()
    };
    let ours = addresses(first);
    Some(others.any(|other| {
        let theirs = addresses(other);
        // Part of a set is the same answer, turned round.
        ours.is_disjoint(&theirs)
            && (!ours.is_empty() || !theirs.is_empty() || other.outcome.failure() != first.outcome.failure())
    }))
}

#[cfg(test)]
mod tests {
    use crate::reference::Reference;
    use crate::{Extractor, Line, Origin};

    fn second(late: &str) -> Vec<Option<bool>> {
        let text = format!(
            r#"{{"test_name":"web_connectivity","input":"http://a.example/","probe_cc":"CN","probe_asn":"AS4134",
            "measurement_start_time":"2024-06-01 12:00:00","test_keys":{{"queries":[{{"engine":"udp","failure":null,
            "hostname":"a.example","query_type":"A","transaction_id":20001,
            "answers":[{{"answer_type":"A","ipv4":"8.7.198.46"}}]}}],"x_dns_duplicate_responses":{late}}}}}"#
        )
        .replace('\n', " ");
        let line = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
        let reference = Reference::empty();
        let out = Extractor::new(&reference).line(Origin { source: "test", line }, &text);
        out.observations.iter().map(|row| row.dns_second_answer).collect()
    }

    fn late(transaction: u32, answers: &str) -> String {
        format!(
            r#"[{{"engine":"udp","failure":null,"hostname":"a.example","query_type":"A",
            "transaction_id":{transaction},"answers":{answers}}}]"#
        )
    }

    #[test]
    fn another_answer_to_the_same_question_is_a_second_party() {
        let other = r#"[{"answer_type":"A","ipv4":"93.184.216.34"}]"#;
        let same = r#"[{"answer_type":"A","ipv4":"8.7.198.46"},{"answer_type":"A","ipv4":"1.2.3.4"}]"#;
        assert_eq!(second(&late(20001, other)), [Some(true)]);
        assert_eq!(second(&late(20001, "null")), [Some(true)], "no address where there was one");
        assert_eq!(second(&late(20001, same)), [Some(false)], "the same again, in another order");
        assert_eq!(second(&late(20002, other)), [None], "to another question");
        assert_eq!(second("null"), [None]);
        assert_eq!(second("[1,{}]"), [None]);
    }
}
