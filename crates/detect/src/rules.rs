//! Rules are data: a TOML file says which signs lead to which verdict.
//!
//! The first rule of a layer whose signs hold decides; every rule that fires is recorded, so that a
//! reader sees what else spoke and an analyst can count rules without judging again. Order is part of
//! the meaning: rules that say "this may not be judged" stand before those that accuse.

use std::borrow::Cow;
use std::sync::OnceLock;

use okno_model::{Layer, Mechanism, State};
use serde::Deserialize;

use crate::fitted::{Fit, FittedFile};
use crate::signs::{Sign, Signs, WORDS};

/// The pieces of our rules, in the order in which their rules stand. The last one carries the head, and
/// ends every layer; rules about arms ask for signs of arms, so their place before it changes nothing else.
const NATIVE: &[&str] = &[
    include_str!("../rules/arms-tcp.toml"),
    include_str!("../rules/arms-udp.toml"),
    include_str!("../rules/arms-tls-quic.toml"),
    include_str!("../rules/native.toml"),
];
const FITTED: &str = include_str!("../rules/fitted.toml");
const OONI_V5: &[&str] = &[include_str!("../rules/ooni-v5.toml")];

/// Why a rule file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// not TOML, or not the keys of a rule file
    #[error("line {line}: {reason}; compare with the files in crates/detect/rules")]
    Syntax {
        /// line from 1
        line: usize,
        /// what the reader expected
        reason: String,
    },
    /// a sign that does not exist
    #[error(
        "line {line}: rule {rule} asks for sign `{sign}`, which does not exist; did you mean `{nearest}`?"
    )]
    UnknownSign {
        /// line from 1
        line: usize,
        /// the rule
        rule: String,
        /// what it asked for
        sign: String,
        /// the existing name most like it
        nearest: &'static str,
    },
    /// an outcome that makes no sense
    #[error("line {line}: rule {rule}: {reason}")]
    Outcome {
        /// line from 1
        line: usize,
        /// the rule
        rule: String,
        /// what is wrong with it
        reason: String,
    },
    /// more rules than the engine takes
    #[error("{count} rules, at most {limit} are possible; split the file")]
    TooMany {
        /// rules in the file
        count: usize,
        /// what fits
        limit: usize,
    },
}

/// How the signs of a ruleset are made and its outcomes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluator {
    /// one state per host, hop and layer; the first rule that fires decides
    Native,
    /// OONI v5: (blocked, down, ok) per row, the greatest of each per measurement and layer
    OoniV5,
}

/// Numbers that a ruleset fixes.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// distinct other networks that must agree before a baseline counts
    pub baseline_networks: u32,
    /// distinct countries among networks that fail before something counts as down everywhere
    pub baseline_countries: u32,
    /// below this rate, in bytes per second, a transfer is slow
    pub slow_bytes_per_s: u64,
    /// for at least this long, in microseconds
    pub slow_us: i64,
    /// a page of at least this size is large
    pub large_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            baseline_networks: 3,
            baseline_countries: 2,
            slow_bytes_per_s: 25_000,
            slow_us: 5_000_000,
            large_bytes: 262_144,
        }
    }
}

/// What a rule concludes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// a state, with a mechanism if it accuses
    Finding {
        /// the state
        state: State,
        /// the taxonomy's node
        mechanism: Option<Mechanism>,
        /// how probable, 0 to 1
        probability: f64,
    },
    /// OONI v5's hand-set triple
    Triple {
        /// share of blocked
        blocked: f64,
        /// share of down
        down: f64,
        /// share of ok
        ok: f64,
    },
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    id: Cow<'static, str>,
    layer: Layer,
    doc: Cow<'static, str>,
    source: Cow<'static, str>,
    outcome: Outcome,
    fit: Option<Fit>,
    when: Signs,
    unless: Signs,
}

impl Rule {
    /// Stable id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn stable_id(&self) -> Cow<'static, str> {
        self.id.clone()
    }

    /// Layer that it judges.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// What it says, in a sentence.
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// Where it comes from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it concludes.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What labelled measurements say of it; `None` where its probability is hand-set.
    pub fn fit(&self) -> Option<&Fit> {
        self.fit.as_ref()
    }

    /// The probability that its author set; `None` for triples.
    pub fn hand_set(&self) -> Option<f64> {
        match (&self.fit, self.outcome) {
            (Some(fit), _) => Some(fit.hand),
            (None, Outcome::Finding { probability, .. }) => Some(probability),
            (None, Outcome::Triple { .. }) => None,
        }
    }

    /// Where its probability comes from, in words.
    pub fn basis(&self) -> String {
        match (&self.fit, self.outcome) {
            (Some(fit), _) => fit.to_string(),
            (None, Outcome::Finding { state: State::Insufficient, .. }) => "claims nothing".to_owned(),
            (None, _) => "hand-set".to_owned(),
        }
    }

    /// Hash of what it asks for and concludes, its probability left out: 16 hex digits.
    pub fn meaning(&self) -> String {
        let mut text = format!("{}\n{}\n", self.id, self.layer);
        if let Outcome::Finding { state, mechanism, .. } = self.outcome {
            text += &format!("{state} {}\n", mechanism.map_or("", Mechanism::as_str));
        }
        for (what, signs) in [("when", &self.when), ("unless", &self.unless)] {
            let mut names: Vec<&str> = signs.iter().map(Sign::name).collect();
            names.sort_unstable();
            text += &format!("{what} {}\n", names.join(" "));
        }
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }

    /// Signs that must all hold.
    pub fn when(&self) -> &Signs {
        &self.when
    }

    /// Signs of which none may hold.
    pub fn unless(&self) -> &Signs {
        &self.unless
    }

    fn fires(&self, signs: &Signs) -> bool {
        signs.holds_all(&self.when) && !signs.holds_any(&self.unless)
    }
}

/// An ordered set of rules, with a name, a version and a hash of its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruleset {
    name: String,
    version: u32,
    stamp: Cow<'static, str>,
    evaluator: Evaluator,
    limits: Limits,
    rules: Vec<Rule>,
    by_layer: [(usize, usize); Layer::ALL.len()],
}

/// What a ruleset says of a set of signs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision<'r> {
    pub(crate) rule: Option<&'r Rule>,
    pub(crate) fired: Signs,
    pub(crate) count: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    version: u32,
    evaluator: Evaluator,
    #[serde(default)]
    limits: Limits,
    rule: Vec<toml::Spanned<RawRule>>,
}

/// A piece without a head: rules of one area.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    #[serde(default)]
    rule: Vec<toml::Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    layer: String,
    doc: String,
    source: String,
    when: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
    state: Option<String>,
    mechanism: Option<String>,
    probability: Option<f64>,
    triple: Option<[f64; 3]>,
}

impl Ruleset {
    /// Okno's own rules, with fitted probabilities where there are some.
    pub fn native() -> Self {
        static STAMP: OnceLock<String> = OnceLock::new();
        Self::embedded(NATIVE, Some(FITTED), &STAMP)
    }

    /// Okno's own rules as their authors set them: what a fit starts from.
    pub fn native_by_hand() -> Self {
        static STAMP: OnceLock<String> = OnceLock::new();
        Self::embedded(NATIVE, None, &STAMP)
    }

    /// OONI pipeline v5's rules, for comparison.
    pub fn ooni_v5() -> Self {
        static STAMP: OnceLock<String> = OnceLock::new();
        Self::embedded(OONI_V5, None, &STAMP)
    }

    /// Reads a rule file.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        Self::read(&[text], &[])
    }

    /// Name, as in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version, as in the file.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// `name@version hash`, the hash being the first 8 hex digits of XXH3-64 of its pieces' texts; with
    /// fitted probabilities ` fit VERSION hash` follows.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    /// The part of the stamp that names the rules' texts.
    pub fn text_stamp(&self) -> &str {
        self.stamp.split_once(" fit ").map_or(&self.stamp, |(texts, _)| texts)
    }

    pub(crate) fn stamp_text(&self) -> Cow<'static, str> {
        self.stamp.clone()
    }

    /// Every rule, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How it is evaluated.
    pub fn evaluator(&self) -> Evaluator {
        self.evaluator
    }

    /// The numbers it fixes.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// A ruleset of these pieces; their texts live as long as the program, so verdicts point to them.
    fn embedded(texts: &[&'static str], fitted: Option<&str>, stamp: &'static OnceLock<String>) -> Self {
        let mut rules = Self::read(texts, texts).expect("the embedded rules are tested");
        if let Some(text) = fitted {
            rules.take_fit(text).expect("the embedded fit is tested");
        }
        let stamp = stamp.get_or_init(|| rules.stamp.clone().into_owned());
        rules.stamp = Cow::Borrowed(stamp);
        rules
    }

    /// Reads pieces whose last has the head; `lasting` are the same texts if they live long, else empty.
    fn read(texts: &[&str], lasting: &[&'static str]) -> Result<Self, RulesError> {
        let (main, pieces) = texts.split_last().expect("a ruleset has at least the piece with its head");
        let file: File = toml::from_str(main).map_err(|error| syntax(main, &error))?;
        let mut rules = Vec::new();
        for (at, text) in pieces.iter().enumerate() {
            let piece: Piece = toml::from_str(text).map_err(|error| syntax(text, &error))?;
            compile_all(piece.rule, text, file.evaluator, lasting.get(at).copied(), &mut rules)?;
        }
        compile_all(file.rule, main, file.evaluator, lasting.last().copied(), &mut rules)?;
        let limit = WORDS * 64;
        if rules.len() > limit {
            return Err(RulesError::TooMany { count: rules.len(), limit });
        }
        // A stable sort keeps the file's order within a layer.
        rules.sort_by_key(|rule| rule.layer);
        for pair in 0..rules.len() {
            if let Some(twin) = rules[pair + 1..].iter().find(|rule| rule.id == rules[pair].id) {
                let rule = twin.id.to_string();
                return Err(RulesError::Outcome { line: 1, rule, reason: "this id stands twice".to_owned() });
            }
        }
        let by_layer = Layer::ALL.map(|layer| {
            let start = rules.partition_point(|rule| rule.layer < layer);
            (start, rules.partition_point(|rule| rule.layer <= layer))
        });
        let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(texts.concat().as_bytes()));
        let stamp = Cow::Owned(format!("{}@{} {}", file.name, file.version, &hash[..8]));
        Ok(Self {
            name: file.name,
            version: file.version,
            stamp,
            evaluator: file.evaluator,
            limits: file.limits,
            rules,
            by_layer,
        })
    }

    /// Puts fitted probabilities in the place of hand-set ones, for rules that mean what they meant then.
    ///
    /// # Errors
    /// A file that is none.
    pub fn take_fit(&mut self, text: &str) -> Result<(), RulesError> {
        let file: FittedFile = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        if file.version == 0 {
            return Ok(());
        }
        for fit in file.rule {
            let Some(rule) = self.rules.iter_mut().find(|rule| rule.id == fit.id) else { continue };
            if rule.meaning() != fit.meaning {
                continue;
            }
            if let Outcome::Finding { state, mechanism, .. } = rule.outcome {
                rule.outcome = Outcome::Finding { state, mechanism, probability: fit.probability };
                rule.fit = Some(fit);
            }
        }
        let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
        self.stamp = Cow::Owned(format!("{} fit {} {}", self.stamp, file.version, &hash[..8]));
        Ok(())
    }

    pub(crate) fn decide(&self, layer: Layer, signs: &Signs) -> Decision<'_> {
        let (start, end) = self.by_layer[layer as usize];
        let mut decision = Decision { rule: None, fired: Signs::default(), count: 0 };
        for (offset, rule) in self.rules[start..end].iter().enumerate() {
            // A rule that asks for nothing says what holds when no other rule fires.
            if rule.fires(signs) && (decision.count == 0 || !rule.when.is_empty()) {
                decision.fired.insert(start + offset);
                decision.count += 1;
                decision.rule = decision.rule.or(Some(rule));
            }
        }
        decision
    }

    /// Ids of the rules in a set, joined with a blank.
    pub(crate) fn fired_ids(&self, decision: &Decision<'_>) -> Cow<'static, str> {
        match decision.rule {
            None => Cow::Borrowed(""),
            Some(rule) if decision.count == 1 => rule.stable_id(),
            Some(_) => {
                let mut ids = String::with_capacity(24 * decision.count as usize);
                for bit in decision.fired.bits() {
                    if !ids.is_empty() {
                        ids.push(' ');
                    }
                    ids.push_str(self.rules[bit].id());
                }
                Cow::Owned(ids)
            }
        }
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> RulesError {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    RulesError::Syntax { line, reason: error.message().to_owned() }
}

fn compile_all(
    raw: Vec<toml::Spanned<RawRule>>,
    text: &str,
    evaluator: Evaluator,
    lasting: Option<&'static str>,
    rules: &mut Vec<Rule>,
) -> Result<(), RulesError> {
    for raw in raw {
        let line = line_of(text, raw.span().start);
        rules.push(compile(raw.into_inner(), line, evaluator, lasting)?);
    }
    Ok(())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Text of the embedded files lives as long as the program, so a verdict can point to it.
fn keep(text: String, lasting: Option<&'static str>) -> Cow<'static, str> {
    match lasting.and_then(|whole| whole.find(&text).map(|at| &whole[at..at + text.len()])) {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(text),
    }
}

fn compile(
    raw: RawRule,
    line: usize,
    evaluator: Evaluator,
    lasting: Option<&'static str>,
) -> Result<Rule, RulesError> {
    let wrong = |reason: &str| RulesError::Outcome { line, rule: raw.id.clone(), reason: reason.to_owned() };
    let layer = Layer::parse(&raw.layer).ok_or_else(|| wrong("no such layer"))?;
    let outcome = match (evaluator, raw.triple, &raw.state) {
        (Evaluator::OoniV5, Some([blocked, down, ok]), None) => {
            if [blocked, down, ok].iter().any(|share| !(0.0..=1.0).contains(share)) {
                return Err(wrong("shares lie between 0 and 1"));
            }
            Outcome::Triple { blocked, down, ok }
        }
        (Evaluator::Native, None, Some(state)) => finding(&raw, state, layer, &wrong)?,
        _ => return Err(wrong("native rules need `state`, ooni-v5 rules need `triple`, and none has both")),
    };
    let when = mask(&raw.when, &raw.id, line)?;
    let unless = mask(&raw.unless, &raw.id, line)?;
    if when.holds_any(&unless) {
        return Err(wrong("a sign is both required and forbidden"));
    }
    Ok(Rule {
        layer,
        outcome,
        fit: None,
        when,
        unless,
        id: keep(raw.id, lasting),
        doc: keep(raw.doc, lasting),
        source: keep(raw.source, lasting),
    })
}

fn finding(
    raw: &RawRule,
    state: &str,
    layer: Layer,
    wrong: &dyn Fn(&str) -> RulesError,
) -> Result<Outcome, RulesError> {
    let state = State::parse(state).ok_or_else(|| wrong("no such state"))?;
    let probability = raw.probability.ok_or_else(|| wrong("`probability` is missing"))?;
    if !(0.0..=1.0).contains(&probability) {
        return Err(wrong("a probability lies between 0 and 1"));
    }
    let mechanism = match &raw.mechanism {
        Some(path) => {
            Some(Mechanism::parse(path).ok_or_else(|| wrong("the taxonomy has no such mechanism"))?)
        }
        None => None,
    };
    if mechanism.is_some() != state.is_interference() {
        return Err(wrong("blocked and throttled name a mechanism, other states none"));
    }
    if mechanism.and_then(Mechanism::layer).is_some_and(|other| other != layer) {
        return Err(wrong("the mechanism belongs to another layer"));
    }
    Ok(Outcome::Finding { state, mechanism, probability })
}

fn mask(names: &[String], rule: &str, line: usize) -> Result<Signs, RulesError> {
    let mut mask = Signs::default();
    for name in names {
        match Sign::ALL.iter().find(|sign| sign.name() == name) {
            Some(sign) => mask.add(*sign),
            None => {
                let nearest = Sign::ALL
                    .iter()
                    .min_by_key(|sign| distance(name, sign.name()))
                    .map_or("", |sign| sign.name());
                let (rule, sign) = (rule.to_owned(), name.clone());
                return Err(RulesError::UnknownSign { line, rule, sign, nearest });
            }
        }
    }
    Ok(mask)
}

/// Levenshtein distance, for naming the nearest sign.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"mine\"\nversion = 3\nevaluator = \"native\"\n";

    fn with(rule: &str) -> Result<Ruleset, RulesError> {
        Ruleset::parse(&format!(
            "{HEAD}[[rule]]\nid = \"a\"\nlayer = \"tls\"\ndoc = \"d\"\nsource = \"s\"\n{rule}"
        ))
    }

    #[test]
    fn the_embedded_rulesets_are_read_and_stamped() {
        let native = Ruleset::native();
        assert!(native.stamp().starts_with("native@"), "{}", native.stamp());
        assert_eq!(native.text_stamp().len(), format!("native@{} ", native.version()).len() + 8);
        assert_eq!(Ruleset::ooni_v5().name(), "ooni-v5");
        for rule in native.rules() {
            assert!(!rule.doc().is_empty() && !rule.source().is_empty(), "{}", rule.id());
            assert!(rule.id().starts_with(rule.layer().as_str()), "{} names its layer", rule.id());
        }
    }

    #[test]
    fn every_layer_of_the_native_rules_ends_with_a_rule_that_always_fires() {
        let native = Ruleset::native();
        for layer in Layer::ALL {
            assert!(native.decide(layer, &Signs::default()).rule.is_some(), "{layer}");
        }
    }

    #[test]
    fn an_unknown_sign_is_named_with_its_line_and_its_nearest_neighbour() {
        let error = with("when = [\"tls.rest\"]\nstate = \"ok\"\nprobability = 1.0\n").unwrap_err();
        let RulesError::UnknownSign { line, nearest, .. } = error else { panic!("{error}") };
        assert_eq!((line, nearest), (4, "tls.reset"));
    }

    #[test]
    fn a_mechanism_stands_with_interference_alone_and_in_its_own_layer() {
        for bad in [
            "when = []\nstate = \"blocked\"\nprobability = 0.9\n",
            "when = []\nstate = \"ok\"\nmechanism = \"tls.reset\"\nprobability = 0.9\n",
            "when = []\nstate = \"blocked\"\nmechanism = \"dns.nxdomain\"\nprobability = 0.9\n",
            "when = []\nstate = \"blocked\"\nmechanism = \"tls.nonsense\"\nprobability = 0.9\n",
            "when = []\nstate = \"blocked\"\nmechanism = \"tls.reset\"\nprobability = 1.5\n",
            "when = []\ntriple = [0.1, 0.2, 0.7]\n",
            "when = [\"tls.ok\"]\nunless = [\"tls.ok\"]\nstate = \"ok\"\nprobability = 1.0\n",
            "when = []\nstate = \"ok\"\nprobability = 1.0\nweight = 3\n",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
        assert!(
            with("when = []\nstate = \"blocked\"\nmechanism = \"tls.reset\"\nprobability = 0.9\n").is_ok()
        );
    }

    #[test]
    fn the_stamp_follows_the_text() {
        let one = with("when = []\nstate = \"ok\"\nprobability = 1.0\n").unwrap();
        let two = with("when = []\nstate = \"ok\"\nprobability = 0.9\n").unwrap();
        assert!(one.stamp().starts_with("mine@3 "));
        assert_ne!(one.stamp(), two.stamp());
    }

    #[test]
    fn a_fit_counts_for_the_rule_it_was_made_for_and_is_named_in_the_stamp() {
        let mut rules = with("when = [\"tls.ok\"]\nstate = \"ok\"\nprobability = 0.9\n").unwrap();
        let meaning = rules.rules()[0].meaning();
        let fit = |meaning: &str| {
            format!(
                "version = 3\nruleset = \"\"\nweight = 2.0\nseeds = [1]\nruns = [\"s\"]\n[[rule]]\nid = \"a\"\n\
                 meaning = \"{meaning}\"\nhand = 0.9\ndecisions = 10\ncorrect = 5\nclusters = 4\n\
                 probability = 0.55\nlow = 0.2\nhigh = 0.8\n"
            )
        };
        let before = rules.clone();
        rules.take_fit(&fit("0000000000000000")).unwrap();
        assert_eq!(rules.rules(), before.rules());
        rules.take_fit(&fit(&meaning)).unwrap();
        let rule = &rules.rules()[0];
        assert!(matches!(rule.outcome(), Outcome::Finding { probability: 0.55, .. }));
        assert_eq!((rule.hand_set(), rule.meaning()), (Some(0.9), meaning));
        assert!(rules.stamp().contains(" fit 3 ") && rules.text_stamp() == before.stamp());
        assert!(rule.basis().starts_with("fitted 0.55"), "{}", rule.basis());
    }

    #[test]
    fn the_first_rule_decides_and_all_that_fire_are_recorded() {
        let text = format!(
            "{HEAD}{}",
            ["one", "two", "three", "rest"].map(|id| format!(
                "[[rule]]\nid = \"{id}\"\nlayer = \"tls\"\ndoc = \"d\"\nsource = \"s\"\nwhen = [{}]\nstate = \"ok\"\nprobability = 1.0\n",
                match id {
                    "one" => "\"tls.reset\"",
                    "rest" => "",
                    _ => "\"tls.ok\"",
                }
            )).concat()
        );
        let rules = Ruleset::parse(&text).unwrap();
        let mut signs = Signs::default();
        signs.add(Sign::TlsOk);
        let decision = rules.decide(Layer::Tls, &signs);
        assert_eq!(decision.rule.map(Rule::id), Some("two"));
        assert_eq!(rules.fired_ids(&decision), "two three");
        let nothing = rules.decide(Layer::Tls, &Signs::default());
        assert_eq!(rules.fired_ids(&nothing), "rest");
    }
}
