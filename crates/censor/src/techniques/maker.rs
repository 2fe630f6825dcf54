//! From a rule's parameters to typed ones, with errors that name the line.

use core::time::Duration;
use std::sync::Arc;

use core::net::IpAddr;

use okno_model::Mechanism;
use okno_wire::FlowKey;

use super::parts::Part;
use super::{DefaultValue, TechniqueSpec};
use crate::action::{Refresh, Scope, Ways};
use crate::chance;
use crate::lists::{Kind, List};
use crate::profile::{Profile, ProfileError, Rule, Value, builtin_lists};
use crate::technique::FlowView;

/// What a technique is made from.
pub(super) struct Maker<'a> {
    profile: &'a Profile,
    rule: &'a Rule,
    spec: &'static TechniqueSpec,
    /// the part of the rule that is being made
    part: Option<Part>,
}

/// A rule's name, kept by its technique.
#[derive(Clone, Debug)]
pub(super) struct Ruling {
    pub(super) id: String,
    pub(super) mechanism: Mechanism,
}

impl<'a> Maker<'a> {
    pub(super) const fn new(profile: &'a Profile, rule: &'a Rule, spec: &'static TechniqueSpec) -> Self {
        Self { profile, rule, spec, part: None }
    }

    /// For one part of the rule.
    pub(super) fn of(&self, part: Part) -> Self {
        Self { part: Some(part), profile: self.profile, rule: self.rule, spec: self.spec }
    }

    /// Whether the technique has such a parameter.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.spec.params().any(|param| param.name == name)
    }

    pub(super) fn ruling(&self) -> Ruling {
        let mechanism = self.part.as_ref().map_or(self.rule.mechanism, |part| part.mechanism);
        Ruling { id: self.rule.id.clone(), mechanism }
    }

    pub(super) fn wrong(&self, name: &str, problem: &str, fix: &str) -> ProfileError {
        let line = self.rule.params.get(name).map_or(self.rule.line, |param| param.line);
        ProfileError::new(&self.rule.file, line, format!("rule `{}`, `{name}`: {problem}", self.rule.id), fix)
    }

    /// The value of a parameter, or the technique's default.
    fn value(&self, name: &'static str) -> Result<Value, ProfileError> {
        if let Some(part) = self.part.as_ref().filter(|part| part.param == name) {
            return Ok(Value::Texts(part.words.clone()));
        }
        if let Some(param) = self.rule.params.get(name) {
            return Ok(param.value.clone());
        }
        let default = self.spec.params().find(|param| param.name == name).map(|param| param.default);
        match default {
            None | Some(DefaultValue::Needed) => Err(self.wrong(
                name,
                "it is missing",
                &format!("add `{name} = {{ value = … }}` under its params"),
            )),
            Some(default) => Ok(default.value()),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, ProfileError> {
        match self.value(name)? {
            Value::Flag(flag) => Ok(flag),
            _ => Err(self.wrong(name, "it is no flag", "write `value = true` or `value = false`")),
        }
    }

    /// A number, or a range to draw from.
    pub(super) fn draw(&self, name: &'static str) -> Result<Draw, ProfileError> {
        let (low, high) = match self.value(name)? {
            Value::Number(number) => (number, number),
            Value::Range(low, high) => (low, high),
            _ => return Err(self.wrong(name, "it is no number", "write `value = 75` or `range = [5, 8]`")),
        };
        if !(0.0..=1e15).contains(&low) || !(low..=1e15).contains(&high) {
            return Err(self.wrong(name, "it is negative or too great", "write a number from 0 on"));
        }
        Ok(Draw { low, high, name })
    }

    /// One number; of a range the lower end.
    pub(super) fn number(&self, name: &'static str) -> Result<f64, ProfileError> {
        self.draw(name).map(|draw| draw.low)
    }

    pub(super) fn count(&self, name: &'static str) -> Result<u32, ProfileError> {
        self.number(name).map(|number| number.min(f64::from(u32::MAX)) as u32)
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Duration, ProfileError> {
        self.draw(name).map(|draw| seconds(draw.low))
    }

    /// A share from 0 to 1 in millionths.
    pub(super) fn ppm(&self, name: &'static str) -> Result<u32, ProfileError> {
        let share = self.number(name)?;
        if share > 1.0 {
            return Err(self.wrong(name, "it is no share", "write a number from 0 to 1"));
        }
        Ok((share * 1e6).round() as u32)
    }

    pub(super) fn text(&self, name: &'static str, known: &[&str]) -> Result<String, ProfileError> {
        match self.value(name)? {
            Value::Text(text) if known.is_empty() || known.contains(&text.as_str()) => Ok(text),
            Value::Text(text) => {
                let fix = crate::profile::suggestion(&text, known);
                Err(self.wrong(name, &format!("`{text}` means nothing here"), &fix))
            }
            _ => Err(self.wrong(name, "it is no text", "put it between quotes")),
        }
    }

    pub(super) fn texts(&self, name: &'static str, known: &[&str]) -> Result<Vec<String>, ProfileError> {
        let texts = match self.value(name)? {
            Value::Texts(texts) => texts,
            Value::Text(text) => vec![text],
            Value::Numbers(numbers) if numbers.is_empty() => Vec::new(),
            _ => return Err(self.wrong(name, "it is no list of texts", "write `value = [\"tls\"]`")),
        };
        if let Some(text) = texts.iter().find(|text| !known.is_empty() && !known.contains(&text.as_str())) {
            let fix = crate::profile::suggestion(text, known);
            return Err(self.wrong(name, &format!("`{text}` means nothing here"), &fix));
        }
        Ok(texts)
    }

    pub(super) fn numbers(&self, name: &'static str) -> Result<Vec<f64>, ProfileError> {
        match self.value(name)? {
            Value::Numbers(numbers) => Ok(numbers),
            Value::Number(number) => Ok(vec![number]),
            Value::Texts(texts) if texts.is_empty() => Ok(Vec::new()),
            _ => Err(self.wrong(name, "it is no list of numbers", "write `value = [443, 853]`")),
        }
    }

    /// Ports and ranges of ports, written `443` or `"596-599"`; empty holds for all.
    pub(super) fn ports(&self, name: &'static str) -> Result<PortSet, ProfileError> {
        let words: Vec<String> = match self.value(name)? {
            Value::Texts(texts) => texts,
            Value::Text(text) => vec![text],
            Value::Numbers(numbers) => numbers.iter().map(f64::to_string).collect(),
            Value::Number(number) => vec![number.to_string()],
            _ => return Err(self.wrong(name, "it is no list of ports", "write `value = [443, 853]`")),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let list = List::read(Kind::Ports, &words).map_err(|bad| self.wrong(name, bad.problem, bad.fix))?;
        Ok(PortSet(Arc::new(list), words.is_empty()))
    }

    pub(super) fn scope(&self, name: &'static str) -> Result<Scope, ProfileError> {
        const KNOWN: [(&str, Scope); 7] = [
            ("flow", Scope::Flow),
            ("4-tuple", Scope::FourTuple),
            ("3-tuple", Scope::ThreeTuple),
            ("host pair", Scope::HostPair),
            ("remote end", Scope::RemoteEnd),
            ("remote", Scope::Remote),
            ("subscriber", Scope::Subscriber),
        ];
        let word = self.text(name, &KNOWN.map(|(word, _)| word))?;
        Ok(KNOWN.iter().find(|(known, _)| *known == word).map_or(Scope::Flow, |(_, scope)| *scope))
    }

    pub(super) fn refresh(&self, name: &'static str) -> Result<Refresh, ProfileError> {
        Ok(match self.text(name, &["never", "trigger", "packet"])?.as_str() {
            "trigger" => Refresh::Trigger,
            "packet" => Refresh::Packet,
            _ => Refresh::Never,
        })
    }

    pub(super) fn ways(&self, name: &'static str) -> Result<Ways, ProfileError> {
        Ok(match self.text(name, &["both", "up", "down"])?.as_str() {
            "up" => Ways::Up,
            "down" => Ways::Down,
            _ => Ways::Both,
        })
    }

    /// The list in a role, if the rule names one.
    fn list(&self, role: &str, kind: Kind) -> Result<Option<Arc<List>>, ProfileError> {
        let Some(name) = self.rule.lists.get(role) else { return Ok(None) };
        let list = self.profile.lists.find(name).or_else(|| builtin_lists().find(name));
        match list {
            Some(list) if list.kind() == kind => Ok(Some(Arc::clone(list))),
            Some(list) => {
                let problem = format!("list `{name}` holds {}, not {}", list.kind().as_str(), kind.as_str());
                Err(self.wrong(role, &problem, "name another list or change its kind"))
            }
            None => Err(self.wrong(role, &format!("there is no list `{name}`"), "add it under [lists]")),
        }
    }

    pub(super) fn names(&self, role: &str) -> Result<NameSet, ProfileError> {
        self.list(role, Kind::Names).map(NameSet)
    }

    pub(super) fn networks(&self, role: &str) -> Result<NetworkSet, ProfileError> {
        self.list(role, Kind::Networks).map(NetworkSet)
    }

    pub(super) fn fingerprints(&self, role: &str) -> Result<FingerprintSet, ProfileError> {
        self.list(role, Kind::Fingerprints).map(FingerprintSet)
    }
}

impl DefaultValue {
    /// As a parameter's value; a needed one is none.
    pub fn value(self) -> Value {
        match self {
            Self::Needed => Value::Texts(Vec::new()),
            Self::Flag(flag) => Value::Flag(flag),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Numbers(numbers) => Value::Numbers(numbers.to_vec()),
            Self::Texts(texts) => Value::Texts(texts.iter().map(|text| (*text).to_owned()).collect()),
        }
    }
}

fn seconds(number: f64) -> Duration {
    Duration::from_micros((number * 1e6).round() as u64)
}

/// A number, drawn once for each flow where it is a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    low: f64,
    high: f64,
    name: &'static str,
}

impl Draw {
    /// The longest time that may be drawn.
    pub(super) fn longest(&self) -> Duration {
        seconds(self.high)
    }

    /// A whole number, evenly among those of the range.
    pub(super) fn count(&self, ruling: &Ruling, seed: u64, key: &FlowKey) -> u64 {
        let (low, high) = (self.low.round() as u64, self.high.round() as u64);
        if low == high {
            return low;
        }
        chance::between(seed, &ruling.id, &(self.name, key), low, high)
    }

    /// Seconds, to the microsecond.
    pub(super) fn time(&self, ruling: &Ruling, flow: &FlowView<'_>) -> Duration {
        if self.low == self.high {
            return seconds(self.low);
        }
        let micros = |number: f64| (number * 1e6).round() as u64;
        let about = (self.name, flow.key);
        Duration::from_micros(chance::between(
            flow.seed,
            &ruling.id,
            &about,
            micros(self.low),
            micros(self.high),
        ))
    }
}

/// Names; without a list it holds for every name, the empty one included.
#[derive(Clone, Debug)]
pub(super) struct NameSet(Option<Arc<List>>);

impl NameSet {
    /// The entry that holds; empty when any name does.
    pub(super) fn matched(&self, name: &str) -> Option<&str> {
        match self.0.as_deref() {
            None => Some(""),
            Some(List::Names(names)) => names.matched(name),
            Some(_) => None,
        }
    }

    /// Whether a list was named and holds: what exceptions ask.
    pub(super) fn excepts(&self, name: &str) -> bool {
        self.0.is_some() && self.matched(name).is_some()
    }

    pub(super) const fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

/// Networks; without a list it holds for every address.
#[derive(Clone, Debug)]
pub(super) struct NetworkSet(Option<Arc<List>>);

impl NetworkSet {
    /// The entry that holds; empty when any address does.
    pub(super) fn matched(&self, ip: IpAddr) -> Option<&str> {
        match self.0.as_deref() {
            None => Some(""),
            Some(List::Networks(networks)) => networks.matched(ip),
            Some(_) => None,
        }
    }

    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.matched(ip).is_some()
    }

    /// Whether a list was named and holds: what exceptions ask.
    pub(super) fn excepts(&self, ip: IpAddr) -> bool {
        self.0.is_some() && self.has(ip)
    }

    pub(super) const fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

/// Fingerprints; without a list it holds for each.
#[derive(Clone, Debug)]
pub(super) struct FingerprintSet(Option<Arc<List>>);

impl FingerprintSet {
    pub(super) fn has(&self, fingerprint: &str) -> bool {
        match self.0.as_deref() {
            None => true,
            Some(List::Fingerprints(prints)) => {
                prints.binary_search_by(|print| print.as_ref().cmp(fingerprint)).is_ok()
            }
            Some(_) => false,
        }
    }

    /// Whether a listed JA4 begins so: with the head alone, hashing is spared for most hellos.
    pub(super) fn may_have(&self, head: &str) -> bool {
        match self.0.as_deref() {
            None => true,
            Some(List::Fingerprints(prints)) => {
                let at = prints.partition_point(|print| print.as_ref() < head);
                prints.get(at).is_some_and(|print| print.starts_with(head))
            }
            Some(_) => false,
        }
    }

    /// Whether the middle part of a listed JA4, the cipher suites, is this.
    pub(super) fn has_middle(&self, ciphers: &str) -> bool {
        match self.0.as_deref() {
            Some(List::Fingerprints(prints)) => {
                prints.iter().any(|print| print.split('_').nth(1) == Some(ciphers))
            }
            _ => false,
        }
    }

    pub(super) const fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

/// Ports; an empty set holds for all.
#[derive(Clone, Debug)]
pub(super) struct PortSet(Arc<List>, bool);

impl PortSet {
    pub(super) fn has(&self, port: u16) -> bool {
        self.1 || matches!(self.0.as_ref(), List::Ports(ports) if ports.has(port))
    }
}

/// The port that was opened to: that of the end that did not open the flow.
pub(super) const fn service_port(flow: &FlowView<'_>) -> u16 {
    match flow.opened_by {
        crate::Direction::Up => flow.outside.port,
        crate::Direction::Down => flow.inside.port,
    }
}
