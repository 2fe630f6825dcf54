//! The tests, one module each, and their registry.

pub mod vpn_protocols;
pub mod web_connectivity;

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::experiment::Experiment;

/// Names of all tests, sorted.
pub const ALL: &[&str] = &["vpn_protocols"];

/// The test of this name with these options: a JSON object with fields of its configuration, or null.
///
/// # Errors
/// In words: that there is no such test, or what is wrong with the options.
pub fn by_name(name: &str, options: &Value) -> Result<Rc<dyn Experiment>, String> {
    match name {
        "vpn_protocols" => made::<vpn_protocols::VpnProtocols>(options),
        _ => Err(format!("no test `{name}`; there are {}", ALL.join(", "))),
    }
}

fn made<T: Experiment + DeserializeOwned + Default + 'static>(
    options: &Value,
) -> Result<Rc<dyn Experiment>, String> {
    if options.is_null() {
        return Ok(Rc::new(T::default()));
    }
    serde_json::from_value::<T>(options.clone())
        .map(|test| Rc::new(test) as Rc<dyn Experiment>)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_test_is_made_and_has_its_name() {
        assert!(ALL.is_sorted());
        for name in ALL {
            let test = by_name(name, &Value::Null).unwrap();
            assert_eq!(test.name(), *name);
        }
        assert!(by_name("nothing", &Value::Null).is_err());
    }

    #[test]
    fn an_unknown_option_is_named() {
        for name in ALL {
            let problem = by_name(name, &serde_json::json!({ "no_such_option": 1 })).err().unwrap();
            assert!(problem.contains("no_such_option"), "{name}: {problem}");
        }
    }
}
