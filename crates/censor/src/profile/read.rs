//! Reads a profile's TOML by hand, so that each error names its line and what to do.

use std::collections::BTreeMap;

use okno_model::{Country, Mechanism, Timestamp};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::suggestion;
use super::{
    Alternative, Confidence, Param, Period, Profile, ProfileError, Provenance, Rule, Tag, Value, Variant,
    builtin,
};
use crate::lists::{Kind, Lists};
use crate::techniques;

/// A text that is being read: its name and where its lines begin.
pub(crate) struct Source<'a> {
    file: &'a str,
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a str, text: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1));
        Self { file, starts }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    fn error(&self, offset: usize, problem: impl Into<String>, fix: impl Into<String>) -> ProfileError {
        ProfileError::new(self.file, self.line(offset), problem, fix)
    }

    pub(crate) fn parse<'t>(&self, text: &'t str) -> Result<Spanned<DeTable<'t>>, ProfileError> {
        DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, error.message().replace('\n', ", "), "mend the TOML (https://toml.io)")
        })
    }

    pub(crate) fn root<'s>(&'s self, table: &'s Spanned<DeTable<'s>>) -> Node<'s> {
        Node { source: self, table: table.get_ref(), at: table.span().start }
    }
}

/// A table being read.
#[derive(Clone, Copy)]
pub(crate) struct Node<'s> {
    source: &'s Source<'s>,
    table: &'s DeTable<'s>,
    at: usize,
}

impl<'s> Node<'s> {
    fn of(source: &'s Source<'s>, value: &'s Spanned<DeValue<'s>>, what: &str) -> Result<Self, ProfileError> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(Self { source, table, at: value.span().start }),
            other => Err(source.error(
                value.span().start,
                format!("{what} is a {}, not a table", other.type_str()),
                "write it as `{ … }` or under a `[heading]`",
            )),
        }
    }

    fn line(&self) -> usize {
        self.source.line(self.at)
    }

    fn error(&self, problem: impl Into<String>, fix: impl Into<String>) -> ProfileError {
        self.source.error(self.at, problem, fix)
    }

    /// Refuses keys that mean nothing here.
    fn only(&self, known: &[&str]) -> Result<(), ProfileError> {
        for key in self.table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let at = key.span().start;
                let problem = format!("`{}` means nothing here", key.get_ref());
                return Err(self.source.error(at, problem, suggestion(key.get_ref(), known)));
            }
        }
        Ok(())
    }

    fn value(&self, key: &str) -> Option<&'s Spanned<DeValue<'s>>> {
        self.table.get(key)
    }

    /// Sub-tables by key, in the keys' order.
    fn children(&self, key: &str) -> Result<Vec<(&'s str, Node<'s>)>, ProfileError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let node = Self::of(self.source, value, key)?;
        let child = |(name, value): (&'s Spanned<_>, &'s Spanned<DeValue<'s>>)| {
            let name: &'s std::borrow::Cow<'s, str> = name.get_ref();
            Ok((name.as_ref(), Self::of(self.source, value, name)?))
        };
        node.table.iter().map(child).collect()
    }

    fn text(&self, key: &str) -> Result<Option<&'s str>, ProfileError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(text.as_ref())),
            other => Err(self.source.error(
                value.span().start,
                format!("`{key}` is a {}, not a text", other.type_str()),
                "put it between quotes",
            )),
        }
    }

    fn need(&self, key: &str, example: &str) -> Result<&'s str, ProfileError> {
        self.text(key)?
            .ok_or_else(|| self.error(format!("`{key}` is missing"), format!("add `{key} = {example}`")))
    }

    fn flag(&self, key: &str) -> Result<bool, ProfileError> {
        match self.value(key) {
            None => Ok(false),
            Some(value) => value.get_ref().as_bool().ok_or_else(|| {
                self.source.error(value.span().start, format!("`{key}` is no flag"), "write true or false")
            }),
        }
    }

    /// One text or a list of them.
    fn texts(&self, key: &str) -> Result<Vec<&'s str>, ProfileError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let wrong = |value: &Spanned<DeValue<'_>>| {
            self.source.error(
                value.span().start,
                format!("`{key}` holds something else than texts"),
                "quote it",
            )
        };
        match value.get_ref() {
            DeValue::String(text) => Ok(vec![text.as_ref()]),
            DeValue::Array(items) => {
                items.iter().map(|item| item.get_ref().as_str().ok_or_else(|| wrong(item))).collect()
            }
            _ => Err(wrong(value)),
        }
    }

    fn numbers(&self, key: &str) -> Result<Vec<f64>, ProfileError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let items = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
        let numbers: Option<Vec<f64>> = items.map(|item| number(item.get_ref())).collect();
        match numbers {
            Some(numbers) if value.get_ref().is_array() => Ok(numbers),
            _ => Err(self.source.error(
                value.span().start,
                format!("`{key}` is no list of numbers"),
                format!("write `{key} = [1, 2]`"),
            )),
        }
    }

    /// The items of a list.
    fn items(
        &self,
        key: &str,
        value: &'s Spanned<DeValue<'s>>,
    ) -> Result<impl Iterator<Item = &'s Spanned<DeValue<'s>>>, ProfileError> {
        let items = value.get_ref().as_array().ok_or_else(|| {
            let problem = format!("`{key}` is a {}, not a list", value.get_ref().type_str());
            self.source.error(value.span().start, problem, "write it between brackets, or under `[[…]]`")
        })?;
        Ok(items.iter())
    }

    fn date(&self, key: &str) -> Result<Option<Timestamp>, ProfileError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::Datetime(date) => date.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => String::new(),
        };
        Timestamp::parse(&text).map(Some).ok_or_else(|| {
            self.source.error(value.span().start, format!("`{key}` is no date"), "write it as 2025-06-09")
        })
    }

    fn period(&self) -> Result<Period, ProfileError> {
        let period = Period { from: self.date("from")?, until: self.date("until")? };
        if let (Some(from), Some(until)) = (period.from, period.until)
            && until < from
        {
            return Err(self.error("it ends before it begins", "exchange `from` and `until`"));
        }
        Ok(period)
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|number| number as f64)
        }
        DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
        _ => None,
    }
}

const PROVENANCE_KEYS: [&str; 4] = ["tag", "confidence", "source", "note"];

fn provenance(node: &Node<'_>, sources: &BTreeMap<String, String>) -> Result<Provenance, ProfileError> {
    let letter = node.text("tag")?.unwrap_or("L");
    let tag = Tag::parse(letter).ok_or_else(|| {
        let letters: Vec<String> =
            Tag::ALL.iter().map(|tag| format!("{} ({})", tag.letter(), tag.words())).collect();
        node.error(format!("`{letter}` is no tag"), format!("use one of {}", letters.join(", ")))
    })?;
    let word = node.text("confidence")?.unwrap_or("low");
    let confidence = Confidence::parse(word).ok_or_else(|| {
        node.error(format!("`{word}` is no confidence"), "use low, low-medium, medium, medium-high or high")
    })?;
    let mut keys = Vec::new();
    for key in node.texts("source")? {
        if !sources.contains_key(key) {
            let known: Vec<&str> = sources.keys().map(String::as_str).collect();
            let fix = format!("add `{key} = \"…\"` under [sources], or {}", suggestion(key, &known));
            return Err(node.error(format!("the source `{key}` is not described"), fix));
        }
        keys.push(key.to_owned());
    }
    if keys.is_empty() && tag != Tag::Lab {
        return Err(node
            .error("a figure without a source", "add `source = \"KEY\"`, or tag it L as the lab's choice"));
    }
    Ok(Provenance { tag, confidence, sources: keys, note: node.text("note")?.unwrap_or("").to_owned() })
}

/// `value = …` or `range = [a, b]`.
fn value(node: &Node<'_>) -> Result<Option<Value>, ProfileError> {
    if node.value("range").is_some() {
        return match node.numbers("range")?.as_slice() {
            [low, high] if low <= high => Ok(Some(Value::Range(*low, *high))),
            _ => Err(node.error("`range` is not two rising numbers", "write `range = [5, 8]`")),
        };
    }
    let Some(value) = node.value("value") else { return Ok(None) };
    let inner = value.get_ref();
    if let Some(flag) = inner.as_bool() {
        return Ok(Some(Value::Flag(flag)));
    }
    if let Some(number) = number(inner) {
        return Ok(Some(Value::Number(number)));
    }
    match inner {
        DeValue::String(text) => Ok(Some(Value::Text(text.to_string()))),
        DeValue::Array(items) if items.iter().all(|item| number(item.get_ref()).is_some()) => {
            Ok(Some(Value::Numbers(node.numbers("value")?)))
        }
        DeValue::Array(_) => {
            Ok(Some(Value::Texts(node.texts("value")?.into_iter().map(str::to_owned).collect())))
        }
        other => Err(node.source.error(
            value.span().start,
            format!("a parameter cannot be a {}", other.type_str()),
            "write a number, a text, a flag or a list of one of them",
        )),
    }
}

fn param(node: &Node<'_>, sources: &BTreeMap<String, String>) -> Result<Param, ProfileError> {
    const OWN: [&str; 6] = ["value", "range", "unit", "name", "unknown", "alternatives"];
    node.only(&[&OWN[..], &PROVENANCE_KEYS[..]].concat())?;
    let unknown = node.flag("unknown")?;
    let mut alternatives = Vec::new();
    if let Some(items) = node.value("alternatives") {
        for item in node.items("alternatives", items)? {
            let node = Node::of(node.source, item, "an alternative")?;
            node.only(&[&["name", "value", "range"][..], &PROVENANCE_KEYS[..]].concat())?;
            let name = node.need("name", "\"blog\"")?.to_owned();
            let value = value(&node)?.ok_or_else(|| {
                node.error("an alternative without a value", "add `value = …` or `range = [a, b]`")
            })?;
            alternatives.push(Alternative { name, value, provenance: provenance(&node, sources)? });
        }
    }
    let name = node.text("name")?.unwrap_or("").to_owned();
    if !alternatives.is_empty() && name.is_empty() {
        return Err(
            node.error("alternatives, but the default has no name", "add `name = \"…\"` beside its value")
        );
    }
    let value = value(node)?
        .ok_or_else(|| node.error("a parameter without a value", "add `value = …` or `range = [a, b]`"))?;
    let unit = node.text("unit")?.unwrap_or("").to_owned();
    Ok(Param {
        value,
        unit,
        name,
        provenance: provenance(node, sources)?,
        unknown,
        alternatives,
        line: node.line(),
    })
}

fn params(
    node: &Node<'_>,
    key: &str,
    all: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Param>, ProfileError> {
    let children = node.children(key)?;
    children.into_iter().map(|(name, node)| Ok((name.to_owned(), param(&node, all)?))).collect()
}

fn rule(node: &Node<'_>, sources: &BTreeMap<String, String>) -> Result<Rule, ProfileError> {
    const OWN: [&str; 10] =
        ["id", "technique", "mechanism", "title", "from", "until", "networks", "off", "lists", "params"];
    node.only(&[&OWN[..], &PROVENANCE_KEYS[..]].concat())?;
    let path = node.need("mechanism", "\"tls.reset.sni\"")?;
    let mechanism = Mechanism::parse(path).ok_or_else(|| {
        let known: Vec<&str> = okno_model::TAXONOMY.iter().map(|node| node.path).collect();
        node.error(format!("the taxonomy has no `{path}`"), suggestion(path, &known))
    })?;
    let mut lists = BTreeMap::new();
    if let Some(value) = node.value("lists") {
        let roles = Node::of(node.source, value, "lists")?;
        for role in roles.table.keys() {
            let role = role.get_ref().as_ref();
            lists.insert(role.to_owned(), roles.need(role, "\"NAME\"")?.to_owned());
        }
    }
    let mut networks = Vec::new();
    if node.value("networks").is_some() {
        networks = node.numbers("networks")?.into_iter().map(|asn| asn as u32).collect();
    }
    let rule = Rule {
        id: node.need("id", "\"sni-1\"")?.to_owned(),
        technique: node.need("technique", "\"sni_reset\"")?.to_owned(),
        mechanism,
        title: node.need("title", "\"…\"")?.to_owned(),
        provenance: provenance(node, sources)?,
        period: node.period()?,
        networks,
        lists,
        params: params(node, "params", sources)?,
        off: node.flag("off")?,
        file: node.source.file.to_owned(),
        line: node.line(),
    };
    check_spec(node, &rule)?;
    Ok(rule)
}

/// Holds a rule against what its technique knows.
fn check_spec(node: &Node<'_>, rule: &Rule) -> Result<(), ProfileError> {
    let Some(spec) = techniques::spec(&rule.technique) else {
        let known: Vec<&str> = techniques::TECHNIQUES.iter().map(|spec| spec.name).collect();
        let problem = format!("there is no technique `{}`", rule.technique);
        return Err(node.error(problem, suggestion(&rule.technique, &known)));
    };
    let names: Vec<&str> = spec.params().map(|param| param.name).collect();
    for (name, param) in &rule.params {
        if !names.contains(&name.as_str()) {
            let problem = format!("`{}` has no parameter `{name}`", spec.name);
            return Err(ProfileError::new(&rule.file, param.line, problem, suggestion(name, &names)));
        }
    }
    for role in rule.lists.keys() {
        if !spec.roles.contains(&role.as_str()) {
            return Err(
                node.error(format!("`{}` has no list `{role}`", spec.name), suggestion(role, spec.roles))
            );
        }
    }
    Ok(())
}

fn variants(root: &Node<'_>) -> Result<BTreeMap<String, Variant>, ProfileError> {
    let mut variants = BTreeMap::new();
    for (name, node) in root.children("variants")? {
        node.only(&["title", "on", "off", "set"])?;
        let mut set = BTreeMap::new();
        if let Some(value) = node.value("set") {
            let choices = Node::of(node.source, value, "set")?;
            for key in choices.table.keys() {
                let key = key.get_ref().as_ref();
                set.insert(key.to_owned(), choices.need(key, "\"ALTERNATIVE\"")?.to_owned());
            }
        }
        let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
        let (on, off) = (owned(node.texts("on")?), owned(node.texts("off")?));
        let title = node.text("title")?.unwrap_or("").to_owned();
        variants.insert(name.to_owned(), Variant { title, on, off, set });
    }
    Ok(variants)
}

/// The lists under `[lists.NAME]`.
pub(crate) fn lists(root: &Node<'_>) -> Result<Lists, ProfileError> {
    let mut lists = Lists::default();
    for (name, node) in root.children("lists")? {
        node.only(&["kind", "title", "source", "note", "entries"])?;
        let word = node.need("kind", "\"names\"")?;
        let kind = Kind::parse(word).ok_or_else(|| {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            node.error(format!("`{word}` is no kind of list"), suggestion(word, &known))
        })?;
        let entries = node.texts("entries")?;
        lists.insert(name, kind, &entries, node.texts("source")?.join(", ").as_str()).map_err(|entry| {
            node.error(format!("`{}` in list `{name}`: {}", entry.entry, entry.problem), entry.fix)
        })?;
    }
    Ok(lists)
}

/// The texts under `[sources]`.
pub(crate) fn sources(root: &Node<'_>) -> Result<BTreeMap<String, String>, ProfileError> {
    let mut sources = BTreeMap::new();
    if let Some(value) = root.value("sources") {
        let node = Node::of(root.source, value, "sources")?;
        for key in node.table.keys() {
            let key = key.get_ref().as_ref();
            sources.insert(key.to_owned(), node.need(key, "\"…\"")?.to_owned());
        }
    }
    Ok(sources)
}

/// Rules and variants of a profile at most: each variant is tried on all rules when the profile is read.
const MOST_RULES: usize = 2000;
const MOST_VARIANTS: usize = 100;

/// A whole profile.
pub(super) fn profile(file: &str, text: &str) -> Result<Profile, ProfileError> {
    const OWN: [&str; 15] = [
        "as_of", "device", "name", "title", "summary", "country", "from", "until", "extends", "without",
        "sources", "switches", "lists", "rule", "variants",
    ];
    let source = Source::new(file, text);
    let table = source.parse(text)?;
    let root = source.root(&table);
    root.only(&OWN)?;
    let mut profile = match root.text("extends")? {
        Some(parent) => parent_of(&root, parent)?,
        None => Profile {
            name: String::new(),
            title: String::new(),
            summary: String::new(),
            country: Country::UNKNOWN,
            period: Period::default(),
            as_of: None,
            switches: BTreeMap::new(),
            device: BTreeMap::new(),
            rules: Vec::new(),
            variants: BTreeMap::new(),
            sources: builtin::sources().clone(),
            lists: Lists::default(),
        },
    };
    profile.name = root.need("name", "\"tspu-2025\"")?.to_owned();
    profile.title = root.need("title", "\"…\"")?.to_owned();
    profile.summary = root.text("summary")?.unwrap_or("").to_owned();
    let country = root.need("country", "\"RU\", or \"ZZ\" for none")?;
    profile.country = Country::parse(country)
        .ok_or_else(|| root.error(format!("`{country}` is no country"), "use two letters of ISO 3166"))?;
    profile.period = root.period()?;
    profile.as_of = root.date("as_of")?;
    profile.sources.extend(sources(&root)?);
    profile.lists.take_over(lists(&root)?);
    let own = params(&root, "switches", &profile.sources)?;
    profile.switches.extend(own);
    let own = params(&root, "device", &profile.sources)?;
    profile.device.extend(own);
    for id in root.texts("without")? {
        if profile.rule(id).is_none() {
            let known: Vec<&str> = profile.rules.iter().map(|rule| rule.id.as_str()).collect();
            return Err(
                root.error(format!("`without` names `{id}`, which is no rule"), suggestion(id, &known))
            );
        }
        profile.rules.retain(|rule| rule.id != id);
    }
    own_rules(&root, &mut profile)?;
    super::select::drop_stale_variants(&mut profile);
    profile.variants.extend(variants(&root)?);
    for (what, count, most) in
        [("rules", profile.rules.len(), MOST_RULES), ("variants", profile.variants.len(), MOST_VARIANTS)]
    {
        if count > most {
            let problem = format!("{count} {what}, at most {most} are read");
            return Err(root.error(problem, "split the profile, each part for a box of its own"));
        }
    }
    super::select::check(&profile, file)?;
    Ok(profile)
}

fn parent_of(root: &Node<'_>, name: &str) -> Result<Profile, ProfileError> {
    builtin::builtin(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = builtin::BUILTIN.iter().map(|(name, _)| *name).collect();
        root.error(
            format!("`extends` names `{name}`, which is no built-in profile"),
            suggestion(name, &known),
        )
    })
}

/// A rule of the parent's id takes its place; a new one comes after.
fn own_rules(root: &Node<'_>, profile: &mut Profile) -> Result<(), ProfileError> {
    let mut seen: Vec<String> = Vec::new();
    let Some(value) = root.value("rule") else { return Ok(()) };
    for item in root.items("rule", value)? {
        let node = Node::of(root.source, item, "a rule")?;
        let rule = rule(&node, &profile.sources)?;
        if seen.contains(&rule.id) {
            return Err(node.error(format!("a second rule `{}`", rule.id), "give each rule an id of its own"));
        }
        seen.push(rule.id.clone());
        match profile.rules.iter().position(|other| other.id == rule.id) {
            Some(at) => profile.rules[at] = rule,
            None => profile.rules.push(rule),
        }
    }
    Ok(())
}
