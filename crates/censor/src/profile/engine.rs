//! From a profile to a box.

use serde::Deserialize as _;
use toml::{Table, Value as Toml};

use super::{Param, Profile, ProfileError, Value};
use crate::engine::Engine;
use crate::switches::Switches;
use crate::technique::Interest;
use crate::techniques;

impl Profile {
    /// The box that does what the profile's rules say, those that are switched off left out. Dates are not
    /// looked at: take [`Profile::at`] first.
    pub fn engine(&self) -> Result<Engine, ProfileError> {
        let techniques = techniques::build(self)?;
        let each_packet = Interest(Interest::DATA.0 | Interest::PACKET.0);
        let watchers = techniques.iter().filter(|technique| technique.interest().any(each_packet)).count();
        if watchers > Engine::MOST_WATCHERS {
            let problem = format!(
                "{watchers} rules want to see each packet, a box has room for {}",
                Engine::MOST_WATCHERS
            );
            return Err(ProfileError::new(
                &self.name,
                0,
                problem,
                "join rules, or split them over two boxes",
            ));
        }
        Ok(Engine::new(self.box_switches()?, techniques))
    }

    /// The machinery's switches as the profile sets them, over the defaults.
    pub fn box_switches(&self) -> Result<Switches, ProfileError> {
        let mut all = Table::new();
        for (path, param) in &self.switches {
            if path.split('.').nth(DEEPEST).is_some() {
                let problem = format!("a switch's path has at most {DEEPEST} parts");
                let fix = "write it as in `tcp.reassembly`";
                return Err(ProfileError::new(&self.name, param.line, problem, fix));
            }
            let mut alone = Table::new();
            put(&mut alone, path, param);
            let problem = match Switches::deserialize(alone) {
                Ok(_) => None,
                Err(error) => Some(error.to_string().trim().replace('\n', ", ")),
            };
            if let Some(problem) = problem {
                let problem = format!("switch `{path}`: {problem}");
                let fix = "write a switch of the box and a value that it takes";
                return Err(ProfileError::new(&self.name, param.line, problem, fix));
            }
            put(&mut all, path, param);
        }
        Switches::deserialize(all)
            .map_err(|error| ProfileError::new(&self.name, 0, error.to_string(), "mend the switches"))
    }
}

/// Parts of a switch's path at most: tables within tables without end would not fit a stack.
const DEEPEST: usize = 4;

/// Puts a value at a dotted path.
fn put(table: &mut Table, path: &str, param: &Param) {
    let mut parts = path.split('.').peekable();
    let mut table = table;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            table.insert(part.to_owned(), toml_value(&param.value));
            return;
        }
        let slot = table.entry(part.to_owned()).or_insert_with(|| Toml::Table(Table::new()));
        match slot {
            Toml::Table(inner) => table = inner,
            _ => return,
        }
    }
}

fn toml_number(number: f64) -> Toml {
    if number.fract() == 0.0 { Toml::Integer(number as i64) } else { Toml::Float(number) }
}

fn toml_value(value: &Value) -> Toml {
    match value {
        Value::Flag(flag) => Toml::Boolean(*flag),
        Value::Number(number) => toml_number(*number),
        Value::Range(low, high) => Toml::Array(vec![toml_number(*low), toml_number(*high)]),
        Value::Text(text) => Toml::String(text.clone()),
        Value::Numbers(numbers) => Toml::Array(numbers.iter().copied().map(toml_number).collect()),
        Value::Texts(texts) => Toml::Array(texts.iter().cloned().map(Toml::String).collect()),
    }
}
