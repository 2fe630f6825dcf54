//! Finds a scenario's files and reads them, included ones first.
//!
//! Includes stay inside the scenario's folder and those beside it; how many and how deep is bounded, and
//! none is read twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use okno_wire::Instant;
use toml::de::DeTable;

use super::check;
use super::fields::{Fields, MAX_FILE_BYTES, Report, Text, Word};
use super::model::{ProfileFile, Scenario};
use super::parse::{self, Draft};
use super::problem::{Place, Problem, ScenarioError};
use crate::nation;

/// Most files of one scenario.
const MAX_FILES: usize = 32;

/// Where a scenario's files come from.
pub trait Files {
    /// The text of a file of the scenario's folder; an error says in words why not.
    fn read(&self, name: &str) -> Result<String, String>;
}

/// Files of a folder.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Files for Folder {
    fn read(&self, name: &str) -> Result<String, String> {
        let path = self.0.join(name);
        let size = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.len();
        if size > MAX_FILE_BYTES as u64 {
            return Err(format!("{} has {size} bytes, more than {MAX_FILE_BYTES}", path.display()));
        }
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Files in memory: name to text.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub BTreeMap<String, String>);

impl Files for Memory {
    fn read(&self, name: &str) -> Result<String, String> {
        self.0.get(name).cloned().ok_or_else(|| format!("no file `{name}`"))
    }
}

/// What a caller may change in a scenario without touching its file: shorter runs, other seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// another seed
    pub seed: Option<u64>,
    /// another first moment
    pub start: Option<Instant>,
    /// another last moment
    pub end: Option<Instant>,
    /// only these networks; empty means as the scenario says
    pub networks: Vec<String>,
    /// only these regions; empty means as the scenario says
    pub regions: Vec<String>,
    /// no group has more clients than this in a cell
    pub clients_per_cell: Option<u32>,
    /// clients in all, instead of the scenario's own number: shared by the groups as theirs are
    pub clients: Option<u32>,
    /// only probes: clients are left out, so that scoring is fast
    pub probes_only: bool,
    /// only clients: probes are left out
    pub clients_only: bool,
}

impl Scenario {
    /// Reads a scenario from a folder that holds `scenario.toml`, or from a file.
    ///
    /// # Errors
    /// All mistakes found, each with file, line and fix.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, ScenarioError> {
        if !path.exists() {
            return Err(absent(path));
        }
        let is_folder = path.is_dir();
        let (folder, file) = match (is_folder, path.file_name()) {
            (false, Some(file)) => {
                (path.parent().unwrap_or(Path::new("")).to_path_buf(), file.to_string_lossy().into_owned())
            }
            _ => (path.to_path_buf(), "scenario.toml".to_owned()),
        };
        let named = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let name = if is_folder { named.file_name() } else { named.file_stem() };
        let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let name = match (name.as_str(), named.parent().and_then(Path::file_name)) {
            ("scenario", Some(parent)) => parent.to_string_lossy().into_owned(),
            _ => name,
        };
        let shown = folder.to_string_lossy().into_owned();
        let shown = if shown.is_empty() { shown } else { format!("{}/", shown.trim_end_matches('/')) };
        Self::read(&name, &file, &shown, &Folder(folder), overrides)
    }

    /// Reads a scenario from one text, which may include nothing.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(name: &str, text: &str, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let files = Memory(BTreeMap::from([("scenario.toml".to_owned(), text.to_owned())]));
        Self::read(name, "scenario.toml", "", &files, overrides)
    }

    /// Reads a scenario called `name` whose first file is `file`; `shown` goes before names of files in
    /// errors.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn read(
        name: &str,
        file: &str,
        shown: &str,
        files: &dyn Files,
        overrides: &Overrides,
    ) -> Result<Self, ScenarioError> {
        let report = Report::default();
        let mut draft = Draft::default();
        let mut reader = Reader { files, shown, report: &report, seen: Vec::new() };
        reader.document(file, Place::default(), &mut draft);
        if report.has_unread() {
            // what a file that could not be read would have said is unknown: no complaints about it
            return Err(report.error().unwrap_or_default());
        }
        let known_networks = draft.nation.networks.iter().map(|network| network.id.clone()).collect();
        let known_regions = draft.nation.regions.iter().map(|region| region.id.clone()).collect();
        if report.is_clean() {
            nation::select(&mut draft.nation, &draft.networks, &draft.regions, &report);
        }
        let mut scenario = draft.finish(name, &report);
        (scenario.known_networks, scenario.known_regions) = (known_networks, known_regions);
        if report.is_clean() {
            override_with(&mut scenario, overrides, &report);
        }
        for (file, place) in core::mem::take(&mut draft.profiles) {
            let id = file.text.rsplit('/').next().unwrap_or(&file.text).trim_end_matches(".toml").to_owned();
            if let Some(text) = reader.text(&file, place) {
                let file = format!("{shown}{}", file.text);
                scenario.profiles.insert(id, ProfileFile { file, text, place });
            }
        }
        if report.is_clean() {
            check::check(&scenario, &report);
        }
        scenario.files = report.files();
        report.error().map_or(Ok(scenario), Err)
    }
}

/// The error for a path at which there is nothing.
fn absent(path: &Path) -> ScenarioError {
    let what = "there is no such folder or file".to_owned();
    let fix = "name a folder that holds `scenario.toml`, or the file itself".to_owned();
    let file = path.display().to_string();
    ScenarioError { problems: vec![Problem { file, line: 0, column: 0, what, fix }], left_out: 0 }
}

fn override_with(scenario: &mut Scenario, overrides: &Overrides, report: &Report) {
    let as_words = |words: &[String]| -> Vec<Word> {
        words.iter().map(|word| Word { text: word.clone(), place: Place::default() }).collect()
    };
    nation::select(
        &mut scenario.nation,
        &as_words(&overrides.networks),
        &as_words(&overrides.regions),
        report,
    );
    scenario.seed = overrides.seed.unwrap_or(scenario.seed);
    scenario.start = overrides.start.unwrap_or(scenario.start);
    scenario.end = overrides.end.unwrap_or(scenario.end);
    if overrides.clients_only {
        scenario.probes.clear();
    }
    if overrides.probes_only {
        scenario.clients.clear();
        if scenario.probes.is_empty() {
            report.add(Place::default(), "there are no probes", "add `[[probe]]` tables, or let clients run");
        }
    }
    if let Some(most) = overrides.clients_per_cell {
        for group in &mut scenario.clients {
            (group.per_cell, group.total) = (most.min(group.per_cell.max(1)), 0);
        }
    }
    if overrides.clients == Some(0) {
        report.add(Place::default(), "0 clients would measure nothing", "take one or more");
    }
    if let Some(total) = overrides.clients {
        let cells = u32::try_from(scenario.nation.cells().len()).unwrap_or(u32::MAX).max(1);
        let of = |group: &super::ClientGroup| match group.total {
            0 => u64::from(group.per_cell) * u64::from(cells),
            total => u64::from(total),
        };
        let all: u64 = scenario.clients.iter().map(of).sum::<u64>().max(1);
        for group in &mut scenario.clients {
            let share = (of(group) * u64::from(total)).div_ceil(all);
            (group.per_cell, group.total) = (0, u32::try_from(share).unwrap_or(u32::MAX).max(1));
        }
    }
}

struct Reader<'a> {
    files: &'a dyn Files,
    shown: &'a str,
    report: &'a Report,
    seen: Vec<String>,
}

impl Reader<'_> {
    fn text(&mut self, name: &str, place: Place) -> Option<String> {
        // a benign twin shares files with its scenario, whose folder stands beside its own
        let below = name.strip_prefix("../").filter(|rest| rest.contains('/')).unwrap_or(name);
        let inside = name.ends_with(".toml")
            && !name.contains(['\\', ':'])
            && below.split('/').all(|part| !part.starts_with('.') && !part.is_empty());
        if !inside {
            self.unnamed(name);
            let what = format!("`{name}` is no file of the scenario's folder or of one beside it");
            self.report.add(
                place,
                what,
                "name a .toml file, such as `world.toml` or `../runet-2025/world.toml`",
            );
            return None;
        }
        if self.seen.iter().any(|seen| seen == name) {
            let what = format!("`{name}` is included twice, or includes itself");
            self.report.add(place, what, "include each file once");
            return None;
        }
        if self.seen.len() >= MAX_FILES {
            self.report.add(place, format!("more than {MAX_FILES} files"), "join some of them");
            return None;
        }
        self.seen.push(name.to_owned());
        match self.files.read(name) {
            Ok(text) if text.len() <= MAX_FILE_BYTES => Some(text),
            Ok(text) => {
                let what = format!("`{name}` has {} bytes, more than {MAX_FILE_BYTES}", text.len());
                self.report.add(place, what, "split it");
                None
            }
            Err(error) => {
                self.unnamed(name);
                self.report.add(place, format!("cannot read `{name}`: {error}"), "check the name");
                self.report.unread();
                None
            }
        }
    }

    /// The first file has no place that names it; without it nothing is known of the scenario.
    fn unnamed(&self, name: &str) {
        if self.report.files().is_empty() {
            self.report.begin_file(&format!("{}{name}", self.shown));
            self.report.unread();
        }
    }

    fn document(&mut self, name: &str, place: Place, draft: &mut Draft) {
        let Some(text) = self.text(name, place) else { return };
        self.parse_text(&format!("{}{name}", self.shown), &text, draft);
    }

    fn parse_text(&mut self, shown: &str, text: &str, draft: &mut Draft) {
        let file = self.report.begin_file(shown);
        let source = Text::new(file, text);
        if let Some(place) = parse::too_deep(&source) {
            self.report.add(place, "a key with more than 16 parts", "nest less deeply");
            self.report.unread();
            return;
        }
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let place = source.place(&error.span().unwrap_or(0..0));
                self.report.add(place, format!("no TOML: {}", error.message()), "see https://toml.io");
                self.report.unread();
                return;
            }
        };
        let root = Fields::new(table.get_ref(), &(0..0), "the file", &source, self.report);
        // the model first, so that this file's own tables can change it; then what is included
        if let Some(topology) = root.table("topology") {
            if let Some(model) = topology.text("model") {
                self.model(&model, draft);
            }
            draft.networks.extend(topology.texts("networks", 1_000));
            draft.regions.extend(topology.texts("regions", 1_000));
            topology.finish();
        }
        for include in root.texts("include", MAX_FILES) {
            self.document(&include.text, include.place, draft);
        }
        draft.read(&root, self.report);
        root.finish();
    }

    fn model(&mut self, model: &Word, draft: &mut Draft) {
        draft.in_model = true;
        self.model_file(model, draft);
        draft.in_model = false;
    }

    fn model_file(&mut self, model: &Word, draft: &mut Draft) {
        if model.text.ends_with(".toml") {
            self.document(&model.text, model.place, draft);
            return;
        }
        let names: Vec<&str> = nation::MODELS.iter().map(|(name, _)| *name).collect();
        match nation::MODELS.iter().find(|(name, _)| *name == model.text) {
            Some((name, text)) => self.parse_text(&format!("<model {name}>"), text, draft),
            None => {
                let what = format!("unknown national model `{}`", model.text);
                self.report.add(model.place, what, super::fields::did_you_mean(&model.text, &names));
            }
        }
    }
}
