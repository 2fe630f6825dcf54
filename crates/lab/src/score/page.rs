//! The boards as one HTML file that needs nothing else: reliability curves and the confusion matrix, in
//! English and Russian.

use std::fmt::Write as _;

use super::Boards;
use super::board::Board;
use super::figures::{Calibration, Share};

const STYLE: &str = include_str!("page.css");

/// The page. The same boards give the same bytes.
pub fn html(boards: &[Boards]) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out += "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Okno: scoreboard</title>";
    let _ = write!(out, "<style>{STYLE}</style></head><body>");
    out += "<input class=\"pick\" type=\"radio\" name=\"lang\" id=\"en\" checked><input class=\"pick\" type=\"radio\" \
            name=\"lang\" id=\"ru\"><div class=\"langs\"><label for=\"en\">English</label><label for=\"ru\" \
            lang=\"ru\">Русский</label></div><main class=\"doc\">";
    out += &both(
        "h1",
        "What the observatory gets right, and what wrong",
        "В чём обсерватория права и в чём ошибается",
    );
    out += &both(
        "p",
        "Everything here happened in the lab: simulated networks whose truth is known. How truth and verdict are \
         matched, and what is left out, is written in docs/scoring.md.",
        "Всё это произошло в лаборатории: в модельных сетях, о которых известна правда. Как она сопоставляется с \
         выводами и что не учитывается, написано в docs/scoring.md.",
    );
    for one in boards {
        let groups = [
            (&one.censored, "Scenarios with a censor", "Сценарии с цензурой"),
            (&one.benign, "Benign twins", "Двойники без цензуры"),
        ];
        for (board, en, ru) in groups {
            if board.measurements > 0 {
                section(&mut out, board, en, ru);
            }
        }
    }
    out += "</main></body></html>\n";
    out
}

/// One element twice, for either language.
fn both(tag: &str, en: &str, ru: &str) -> String {
    format!("<{tag} class=\"en\">{en}</{tag}><{tag} class=\"ru\" lang=\"ru\">{ru}</{tag}>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn percent(share: &Share) -> String {
    match (share.share, share.low, share.high) {
        (Some(value), Some(low), Some(high)) => {
            format!("{:.2} % <span class=\"n\">{:.2}–{:.2}</span>", value * 100.0, low * 100.0, high * 100.0)
        }
        _ => String::from("—"),
    }
}

fn section(out: &mut String, board: &Board, en: &str, ru: &str) {
    let stamp = escaped(&board.ruleset);
    *out += "<section>";
    *out += &both("h2", &format!("{en}, {stamp}"), &format!("{ru}, {stamp}"));
    let left_out: u64 = board.excluded.values().sum();
    *out += &both(
        "p",
        &format!(
            "{} measurements scored, {left_out} left out. {}.",
            board.measurements,
            board.scenarios.join(", ")
        ),
        &format!(
            "Учтено измерений: {}, не учтено: {left_out}. {}.",
            board.measurements,
            board.scenarios.join(", ")
        ),
    );
    *out += "<div class=\"scroll\"><table><thead><tr><th></th><th>TP</th><th>FP</th><th>FN</th><th>TN</th>";
    *out += &both("th", "precision", "точность");
    *out += &both("th", "recall", "полнота");
    *out += "</tr></thead><tbody>";
    for row in core::iter::once(&board.detection).chain(&board.mechanisms) {
        let counts = row.counts;
        let _ = write!(
            out,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&row.name),
            counts.tp,
            counts.fp,
            counts.r#fn,
            counts.tn,
            percent(&row.precision),
            percent(&row.recall)
        );
    }
    *out += "</tbody></table></div>";
    let right = percent(&board.right_mechanism);
    *out += &both("p", &format!("Right mechanism: {right}"), &format!("Верный механизм: {right}"));
    curve(out, &board.calibration);
    confusion(out, board);
    *out += "</section>";
}

/// Claimed against observed; the area of a point is the number of statements.
fn curve(out: &mut String, of: &Calibration) {
    const SIDE: f64 = 300.0;
    let number = |value: Option<f64>| value.map_or_else(|| String::from("—"), |value| format!("{value:.4}"));
    *out += "<figure>";
    let _ = write!(
        out,
        "<svg viewBox=\"-34 -10 {0} {0}\" width=\"{0}\" role=\"img\"><path class=\"ideal\" d=\"M0 {SIDE}L{SIDE} 0\"/>\
         <path class=\"axis\" d=\"M0 0V{SIDE}H{SIDE}\"/>",
        SIDE + 60.0
    );
    for tick in [0.0, 0.5, 1.0] {
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{tick}</text><text x=\"-8\" y=\"{}\" \
             text-anchor=\"end\">{tick}</text>",
            tick * SIDE,
            SIDE + 18.0,
            SIDE - tick * SIDE + 4.0
        );
    }
    for bin in &of.bins {
        let radius = (bin.count as f64 / of.count.max(1) as f64).sqrt() * 26.0 + 2.5;
        let _ = write!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>{}: {:.3} → {:.3}</title></circle>",
            bin.claimed * SIDE,
            SIDE - bin.observed * SIDE,
            bin.count,
            bin.claimed,
            bin.observed
        );
    }
    *out += "</svg>";
    let figures = format!("Brier {}, ECE {}", number(of.brier), number(of.ece));
    *out += &both(
        "figcaption",
        &format!("Claimed probability (across) against how often it was so (up). {figures}"),
        &format!("Заявленная вероятность (по горизонтали) и доля верного (по вертикали). {figures}"),
    );
    *out += "</figure>";
}

/// Truth down, verdict across; shades by share of the row.
fn confusion(out: &mut String, board: &Board) {
    let mut truths: Vec<&str> = board.confusion.iter().map(|(truth, _, _)| truth.as_str()).collect();
    truths.dedup();
    let mut named: Vec<&str> = board.confusion.iter().map(|(_, named, _)| named.as_str()).collect();
    named.sort_unstable();
    named.dedup();
    *out += "<div class=\"scroll\"><table class=\"confusion\"><thead><tr>";
    *out += &both("th", "truth ↓, verdict →", "правда ↓, вывод →");
    for name in &named {
        let _ = write!(out, "<th><span>{}</span></th>", escaped(name));
    }
    *out += "</tr></thead><tbody>";
    for truth in truths {
        let row = || board.confusion.iter().filter(|(other, _, _)| other == truth);
        let all: u64 = row().map(|(_, _, count)| count).sum();
        let _ = write!(out, "<tr><th>{}</th>", escaped(truth));
        for name in &named {
            match row().find(|(_, other, _)| other == name) {
                Some((_, _, count)) => {
                    let shade = 8.0 + 60.0 * *count as f64 / all.max(1) as f64;
                    let _ = write!(
                        out,
                        "<td style=\"background:color-mix(in srgb,var(--bar) {shade:.0}%,transparent)\">{count}</td>"
                    );
                }
                None => *out += "<td></td>",
            }
        }
        *out += "</tr>";
    }
    *out += "</tbody></table></div>";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_the_figures_in_both_languages_and_nothing_from_elsewhere() {
        let mut board = Board { measurements: 3, ..Board::default() };
        board.confusion.push(("ip.drop".to_owned(), "<b>".to_owned(), 3));
        board.calibration = Calibration::of(&[(0.9, true), (0.9, false)]);
        let page = html(&[Boards { rules: "native".to_owned(), censored: board, benign: Board::default() }]);
        assert!(page.contains("ip.drop") && page.contains("&lt;b&gt;") && page.contains("точность"));
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("Benign twins"));
    }
}
