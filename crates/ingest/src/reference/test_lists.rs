//! Which category a test list gives a host (Citizen Lab's lists, which OONI measures from).
//!
//! A host can stand in several lists and with several pages. The entry that names the host itself
//! comes before one of its pages, a younger list before an older one, then the list's name decides.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::tables::HostRow;

/// Hosts of all test lists with their categories.
#[derive(Debug, Default)]
pub struct TestLists {
    /// sorted by host
    hosts: Vec<(Box<str>, u16)>,
    categories: Vec<Box<str>>,
}

impl TestLists {
    /// Joins lists: name, date and hosts of each.
    pub(super) fn build(mut lists: Vec<(String, String, Vec<HostRow>)>) -> Self {
        lists.sort_by(|a, b| (Reverse(&a.1), &a.0).cmp(&(Reverse(&b.1), &b.0)));
        let mut best: BTreeMap<&str, (bool, &str)> = BTreeMap::new();
        for row in lists.iter().flat_map(|(_, _, hosts)| hosts) {
            let entry = best.entry(&row.host).or_insert((row.root, &row.category));
            if row.root && !entry.0 {
                *entry = (true, &row.category);
            }
        }
        let mut categories: Vec<Box<str>> = best.values().map(|(_, category)| Box::from(*category)).collect();
        categories.sort();
        categories.dedup();
        categories.truncate(usize::from(u16::MAX));
        let number = |category: &str| {
            categories.binary_search_by(|c| (**c).cmp(category)).ok().and_then(|n| u16::try_from(n).ok())
        };
        let hosts = best
            .iter()
            .filter_map(|(host, (_, category))| Some((Box::from(*host), number(category)?)))
            .collect();
        Self { hosts, categories }
    }

    /// Category code of a host name (`NEWS`, `HUMR` …). The name is ASCII in any case; one that is not
    /// listed is looked up again without, then with, `www.`.
    pub fn category(&self, hostname: &str) -> Option<&str> {
        if self.hosts.is_empty() {
            return None;
        }
        let host = hostname.trim_end_matches('.').to_ascii_lowercase();
        self.exact(&host).or_else(|| match host.strip_prefix("www.") {
            Some(parent) => self.exact(parent),
            None => self.exact(&format!("www.{host}")),
        })
    }

    fn exact(&self, host: &str) -> Option<&str> {
        let at = self.hosts.binary_search_by(|(known, _)| (**known).cmp(host)).ok()?;
        self.categories.get(usize::from(self.hosts[at].1)).map(|c| &**c)
    }

    /// Number of hosts.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, category: &str, root: bool) -> HostRow {
        HostRow { host: host.into(), category: category.into(), root }
    }

    #[test]
    fn the_host_itself_comes_before_its_pages_and_younger_lists_before_older() {
        let lists = TestLists::build(vec![
            ("ru".into(), "2020-01-01".into(), vec![host("a.org", "NEWS", true), host("b.org", "OLD", true)]),
            (
                "global".into(),
                "2024-01-01".into(),
                vec![host("a.org", "HUMR", false), host("b.org", "NEW", true)],
            ),
            ("ir".into(), "2019-01-01".into(), vec![host("www.c.org", "POLR", true)]),
        ]);
        assert_eq!(lists.category("a.org"), Some("NEWS"));
        assert_eq!(lists.category("WWW.A.org."), Some("NEWS"));
        assert_eq!(lists.category("b.org"), Some("NEW"));
        assert_eq!(lists.category("c.org"), Some("POLR"));
        assert_eq!(lists.category("x.a.org"), None);
        assert_eq!(lists.category(""), None);
        assert_eq!(lists.len(), 3);
    }
}
