//! A profile in words: every rule, what it does, each figure with its source, and what nobody knows.
//!
//! The same data serves `--json` and people. What a rule leaves to the technique is told apart from what the
//! record says, because a default is the lab's choice and no fact.

use core::fmt::Write as _;

use serde::Serialize;

use crate::profile::{Param, Period, Profile, Provenance, Rule, builtin_lists};
use crate::techniques::{self, DefaultValue, ParamSpec};

/// A profile explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// profile's name
    pub name: String,
    /// one line
    pub title: String,
    /// what it models and what not
    pub summary: String,
    /// ISO 3166; ZZ for none
    pub country: String,
    /// first day, empty when open
    pub from: String,
    /// last day, empty when open
    pub until: String,
    /// the day that is meant when none is given, empty when all rules hold
    pub as_of: String,
    /// where its box stands and how it is built
    pub device: Vec<Figure>,
    /// what the shared machinery is told
    pub switches: Vec<Figure>,
    /// its rules, in the order in which they are asked
    pub rules: Vec<RuleExplanation>,
    /// choices it offers
    pub variants: Vec<VariantLine>,
    /// sources named anywhere above, by key
    pub sources: Vec<SourceLine>,
    /// counts, for a summary line
    pub totals: Totals,
}

/// Counts over an explanation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// rules
    pub rules: usize,
    /// rules that are switched on
    pub rules_on: usize,
    /// figures that a source gives
    pub figures_sourced: usize,
    /// figures that the record does not give
    pub figures_unknown: usize,
    /// figures for which sources disagree
    pub figures_disputed: usize,
}

/// A rule explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleExplanation {
    /// id in the profile
    pub id: String,
    /// what it does, in one sentence
    pub title: String,
    /// technique's name
    pub technique: String,
    /// what the technique does, whatever its figures
    pub technique_does: String,
    /// node of the taxonomy
    pub mechanism: String,
    /// what that node means
    pub mechanism_means: String,
    /// whether it is switched on
    pub on: bool,
    /// first day, empty when open
    pub from: String,
    /// last day, empty when open
    pub until: String,
    /// autonomous systems it was seen in; empty for any
    pub networks: Vec<u32>,
    /// that it exists
    pub existence: Origin,
    /// its lists
    pub lists: Vec<ListLine>,
    /// its figures, those of the profile first
    pub figures: Vec<Figure>,
}

/// Where something comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// letter
    pub tag: char,
    /// what the letter stands for
    pub tag_means: &'static str,
    /// low … high
    pub confidence: &'static str,
    /// keys of sources
    pub sources: Vec<String>,
    /// anything to add
    pub note: String,
}

/// A figure explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// parameter or switch
    pub name: String,
    /// what it means; empty for switches
    pub means: String,
    /// what is used
    pub value: String,
    /// unit of its numbers
    pub unit: String,
    /// the record does not say: the value is the lab's assumption
    pub unknown: bool,
    /// the profile says nothing: the technique's default, the lab's choice
    pub default: bool,
    /// where it comes from
    pub origin: Origin,
    /// what other sources say
    pub alternatives: Vec<AlternativeLine>,
}

/// Another value of a figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlternativeLine {
    /// how to choose it
    pub name: String,
    /// its value
    pub value: String,
    /// its source
    pub origin: Origin,
}

/// A list that a rule asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListLine {
    /// its role in the technique
    pub role: String,
    /// its name, for `--list NAME=FILE`
    pub name: String,
    /// what it holds
    pub kind: &'static str,
    /// how many entries
    pub entries: usize,
    /// where it comes from
    pub source: String,
}

/// A variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VariantLine {
    /// chosen as PROFILE:NAME
    pub name: String,
    /// what it stands for
    pub title: String,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceLine {
    /// key
    pub key: String,
    /// full text, with address
    pub text: String,
}

impl Origin {
    fn of(provenance: &Provenance) -> Self {
        Self {
            tag: provenance.tag.letter(),
            tag_means: provenance.tag.words(),
            confidence: provenance.confidence.as_str(),
            sources: provenance.sources.clone(),
            note: provenance.note.clone(),
        }
    }
}

impl Figure {
    fn of(name: &str, means: &str, param: &Param) -> Self {
        let alternative = |other: &crate::profile::Alternative| AlternativeLine {
            name: other.name.clone(),
            value: other.value.to_string(),
            origin: Origin::of(&other.provenance),
        };
        Self {
            name: name.to_owned(),
            means: means.to_owned(),
            value: param.value.to_string(),
            unit: param.unit.clone(),
            unknown: param.unknown,
            default: false,
            origin: Origin::of(&param.provenance),
            alternatives: param.alternatives.iter().map(alternative).collect(),
        }
    }

    fn of_default(spec: &ParamSpec) -> Self {
        Self {
            name: spec.name.to_owned(),
            means: spec.doc.to_owned(),
            value: spec.default.value().to_string(),
            unit: spec.unit.to_owned(),
            unknown: false,
            default: true,
            origin: Origin::of(&Provenance::lab()),
            alternatives: Vec::new(),
        }
    }
}

/// Explains a profile as it stands, after any selection.
pub fn explain(profile: &Profile) -> Explanation {
    let figures = |params: &std::collections::BTreeMap<String, Param>| -> Vec<Figure> {
        params.iter().map(|(name, param)| Figure::of(name, "", param)).collect()
    };
    let (from, until) = days(&profile.period);
    let mut explanation = Explanation {
        name: profile.name.clone(),
        title: profile.title.clone(),
        summary: profile.summary.split_whitespace().collect::<Vec<_>>().join(" "),
        country: profile.country.as_str().to_owned(),
        from,
        until,
        as_of: profile.as_of.map(okno_model::Timestamp::date).unwrap_or_default(),
        device: figures(&profile.device),
        switches: figures(&profile.switches),
        rules: profile.rules.iter().map(|rule| explain_rule(profile, rule)).collect(),
        variants: Vec::new(),
        sources: Vec::new(),
        totals: Totals::default(),
    };
    let variant = |(name, variant): (&String, &crate::profile::Variant)| VariantLine {
        name: name.clone(),
        title: variant.title.clone(),
    };
    explanation.variants = profile.variants.iter().map(variant).collect();
    explanation.sources = sources(profile, &explanation);
    explanation.totals = totals(&explanation);
    explanation
}

fn days(period: &Period) -> (String, String) {
    let day = |at: Option<okno_model::Timestamp>| at.map(okno_model::Timestamp::date).unwrap_or_default();
    (day(period.from), day(period.until))
}

fn explain_rule(profile: &Profile, rule: &Rule) -> RuleExplanation {
    let spec = techniques::spec(&rule.technique);
    let means = |name: &str| {
        let known = spec.and_then(|spec| spec.params().find(|param| param.name == name));
        known.map_or("", |param| param.doc)
    };
    let mut figures: Vec<Figure> =
        rule.params.iter().map(|(name, param)| Figure::of(name, means(name), param)).collect();
    let left = spec.into_iter().flat_map(techniques::TechniqueSpec::params);
    figures.extend(
        left.filter(|spec| spec.default != DefaultValue::Needed && !rule.params.contains_key(spec.name))
            .map(Figure::of_default),
    );
    let (from, until) = days(&rule.period);
    let node = okno_model::TAXONOMY.iter().find(|node| node.path == rule.mechanism.as_str());
    RuleExplanation {
        id: rule.id.clone(),
        title: rule.title.clone(),
        technique: rule.technique.clone(),
        technique_does: spec.map_or("", |spec| spec.doc).to_owned(),
        mechanism: rule.mechanism.as_str().to_owned(),
        mechanism_means: node.map_or("", |node| node.doc).to_owned(),
        on: !rule.off,
        from,
        until,
        networks: rule.networks.clone(),
        existence: Origin::of(&rule.provenance),
        lists: rule.lists.iter().map(|(role, name)| list_line(profile, role, name)).collect(),
        figures,
    }
}

fn list_line(profile: &Profile, role: &str, name: &str) -> ListLine {
    let lists = if profile.lists.has(name) { &profile.lists } else { builtin_lists() };
    let list = lists.find(name);
    ListLine {
        role: role.to_owned(),
        name: name.to_owned(),
        kind: list.map_or("", |list| list.kind().as_str()),
        entries: list.map_or(0, |list| list.len()),
        source: lists.source(name).to_owned(),
    }
}

/// Sources that are named, in the order of their keys.
fn sources(profile: &Profile, explanation: &Explanation) -> Vec<SourceLine> {
    let mut keys: Vec<&str> = Vec::new();
    let figures = explanation.rules.iter().flat_map(|rule| &rule.figures);
    for figure in figures.chain(&explanation.switches).chain(&explanation.device) {
        keys.extend(figure.origin.sources.iter().map(String::as_str));
        keys.extend(figure.alternatives.iter().flat_map(|other| &other.origin.sources).map(String::as_str));
    }
    for rule in &explanation.rules {
        keys.extend(rule.existence.sources.iter().map(String::as_str));
        keys.extend(rule.lists.iter().flat_map(|list| list.source.split(", ")));
    }
    keys.sort_unstable();
    keys.dedup();
    let line = |key: &str| {
        profile.sources.get(key).map(|text| SourceLine { key: key.to_owned(), text: text.clone() })
    };
    keys.into_iter().filter_map(line).collect()
}

fn totals(explanation: &Explanation) -> Totals {
    let mut totals = Totals { rules: explanation.rules.len(), ..Totals::default() };
    totals.rules_on = explanation.rules.iter().filter(|rule| rule.on).count();
    let figures = explanation.rules.iter().flat_map(|rule| &rule.figures);
    for figure in figures.chain(&explanation.switches).chain(&explanation.device) {
        totals.figures_unknown += usize::from(figure.unknown);
        totals.figures_sourced += usize::from(!figure.unknown && !figure.origin.sources.is_empty());
        totals.figures_disputed += usize::from(!figure.alternatives.is_empty());
    }
    totals
}

/// Columns that the text keeps to.
const WIDTH: usize = 108;

impl Explanation {
    /// The explanation as text for a terminal: lines of at most 108 columns, no colours.
    pub fn text(&self) -> String {
        let mut out = Text::default();
        out.line(0, &format!("{}: {}", self.name, self.title));
        let mut when = period_words(&self.country, &self.from, &self.until);
        if !self.as_of.is_empty() {
            let _ = write!(when, "; without a date it stands as of {}", self.as_of);
        }
        out.line(0, &when);
        if !self.summary.is_empty() {
            out.line(0, "");
            out.prose(&self.summary);
        }
        for (head, figures) in [("The box", &self.device), ("What it looks at", &self.switches)] {
            if !figures.is_empty() {
                out.line(0, "");
                out.line(0, head);
                figures.iter().for_each(|figure| out.figure(figure));
            }
        }
        for rule in &self.rules {
            out.line(0, "");
            out.rule(rule);
        }
        if !self.variants.is_empty() {
            out.line(0, "");
            out.line(0, "Variants (PROFILE:NAME)");
            for variant in &self.variants {
                out.line(2, &format!("{}: {}", variant.name, variant.title));
            }
        }
        out.line(0, "");
        out.line(0, "Sources");
        for source in &self.sources {
            out.line(2, &format!("{}: {}", source.key, source.text));
        }
        let totals = &self.totals;
        out.line(0, "");
        out.line(
            0,
            &format!(
                "{} rules, {} of them on; {} figures with a source, {} unknown, {} disputed.",
                totals.rules,
                totals.rules_on,
                totals.figures_sourced,
                totals.figures_unknown,
                totals.figures_disputed
            ),
        );
        out.0
    }
}

fn period_words(country: &str, from: &str, until: &str) -> String {
    let mut words = format!("country {country}");
    if !from.is_empty() {
        let _ = write!(words, ", from {from}");
    }
    if !until.is_empty() {
        let _ = write!(words, ", until {until}");
    }
    words
}

/// `[F medium: N4P490, DPICH]`.
fn origin_words(origin: &Origin) -> String {
    let sources = origin.sources.join(", ");
    let colon = if sources.is_empty() { "" } else { ": " };
    format!("[{} {}{colon}{sources}]", origin.tag, origin.confidence)
}

#[derive(Default)]
struct Text(String);

impl Text {
    /// A paragraph, broken at blanks; what follows its first line is set in by two more.
    fn line(&mut self, indent: usize, words: &str) {
        self.filled(indent, indent + 2, words);
    }

    /// A paragraph at the left edge.
    fn prose(&mut self, words: &str) {
        self.filled(0, 0, words);
    }

    fn filled(&mut self, first: usize, rest: usize, words: &str) {
        let (mut column, mut set_in) = (0, first);
        for word in words.split_whitespace() {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > WIDTH {
                self.0.push('\n');
                (column, set_in) = (0, rest);
            }
            if column == 0 {
                self.0.extend(core::iter::repeat_n(' ', set_in));
                column = set_in;
            } else {
                self.0.push(' ');
                column += 1;
            }
            self.0.push_str(word);
            column += width;
        }
        self.0.push('\n');
    }

    fn rule(&mut self, rule: &RuleExplanation) {
        let off = if rule.on { "" } else { " (off)" };
        self.line(0, &format!("{}{off}: {}", rule.id, rule.title));
        let mut when = String::new();
        if !rule.from.is_empty() || !rule.until.is_empty() {
            let _ = write!(when, "; {} … {}", rule.from, rule.until);
        }
        if !rule.networks.is_empty() {
            let networks: Vec<String> = rule.networks.iter().map(|asn| format!("AS{asn}")).collect();
            let _ = write!(when, "; {}", networks.join(", "));
        }
        let existence = origin_words(&rule.existence);
        self.line(2, &format!("{}, {} {existence}{when}", rule.mechanism, rule.mechanism_means));
        if !rule.existence.note.is_empty() {
            self.line(2, &rule.existence.note);
        }
        self.line(2, &format!("technique {}: {}", rule.technique, rule.technique_does));
        for list in &rule.lists {
            let source = if list.source.is_empty() { String::new() } else { format!(" ({})", list.source) };
            self.line(
                2,
                &format!("{}: list {}, {} {}{source}", list.role, list.name, list.entries, list.kind),
            );
        }
        rule.figures.iter().filter(|figure| !figure.default).for_each(|figure| self.figure(figure));
        let left: Vec<String> = rule
            .figures
            .iter()
            .filter(|figure| figure.default && !figure.value.is_empty())
            .map(|figure| format!("{} {}", figure.name, figure.value))
            .collect();
        if !left.is_empty() {
            self.line(2, &format!("left to the technique [L]: {}", left.join(", ")));
        }
    }

    fn figure(&mut self, figure: &Figure) {
        let unit = if figure.unit.is_empty() { String::new() } else { format!(" {}", figure.unit) };
        let origin = if figure.unknown && figure.origin.sources.is_empty() {
            "[unknown; assumed]".to_owned()
        } else if figure.unknown {
            format!("[unknown; assumed after {}]", figure.origin.sources.join(", "))
        } else {
            origin_words(&figure.origin)
        };
        let note =
            if figure.origin.note.is_empty() { String::new() } else { format!(" {}", figure.origin.note) };
        let value = if figure.value.is_empty() { "none" } else { &figure.value };
        self.line(2, &format!("{} = {value}{unit} {origin}{note}", figure.name));
        for other in &figure.alternatives {
            let note =
                if other.origin.note.is_empty() { String::new() } else { format!(" {}", other.origin.note) };
            let origin = origin_words(&other.origin);
            self.line(4, &format!("or {} ({}){unit} {origin}{note}", other.value, other.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{BUILTIN, builtin};

    #[test]
    fn every_figure_of_every_profile_is_told_with_its_letter_and_the_sources_in_full() {
        for (name, _) in BUILTIN {
            let profile = builtin(name).expect("built in");
            let explanation = explain(profile);
            let text = explanation.text();
            assert_eq!(explanation.rules.len(), profile.rules.len());
            for rule in &explanation.rules {
                assert!(
                    text.contains(&format!("{}: ", rule.id))
                        || text.contains(&format!("{} (off): ", rule.id))
                );
                assert!(!rule.technique_does.is_empty() && !rule.mechanism_means.is_empty(), "{}", rule.id);
                for key in &rule.existence.sources {
                    assert!(explanation.sources.iter().any(|source| source.key == *key), "{key}");
                }
            }
            for figure in
                explanation.rules.iter().flat_map(|rule| &rule.figures).filter(|figure| !figure.default)
            {
                assert!(text.contains(&format!("{} = ", figure.name)), "{}", figure.name);
                assert!(!figure.means.is_empty(), "{}", figure.name);
            }
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 60), "{name}");
        }
    }

    #[test]
    fn disputed_and_unknown_figures_are_told_as_such() {
        let text = explain(builtin("tspu-2021").expect("built in")).text();
        assert!(text.contains("or 15–20 (blog) packets [P medium: IMC21]"), "{text}");
        let text = explain(builtin("tspu-2026").expect("built in")).text();
        assert!(text.contains("delay_s = 0.5 s [unknown; assumed]"), "{text}");
        assert!(text.contains("two-stage (off): "), "{text}");
    }

    #[test]
    fn a_choice_shows_as_the_users_and_no_fact() {
        let selection =
            crate::profile::Selection { set: vec!["sni-1.residual_s=10".to_owned()], ..Default::default() };
        let chosen = builtin("tspu-2022").expect("built in").select(&selection).expect("it fits");
        let text = explain(&chosen).text();
        assert!(text.contains("residual_s = 10 s [L low] set by --set"), "{text}");
    }
}
