//! The run that made an output, as the manifest's first line holds it.
//!
//! What a run is made of is the stages' matter (`report::Run`). Here it is a JSON object that is kept, compared and
//! handed out, so that this room knows no encoder and no head, and a run of a newer program is told apart all the same.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The setting that says what the input was when it was found; all others must stay the same when a run goes on.
const SNAPSHOT: &str = "snapshot";

/// Everything that determines an output, by the name of the setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordedRun(BTreeMap<String, Value>);

impl RecordedRun {
    /// Records a run.
    ///
    /// # Panics
    /// Where `run` is no plain data with names.
    pub fn of(run: &impl Serialize) -> RecordedRun {
        let value = serde_json::to_value(run).and_then(serde_json::from_value);
        value.expect("a run is plain data with names, else this is a bug")
    }

    /// What a stage wrote down, or the part of it that `T` is; [`RecordedRun::read`] names the file where it is none.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_value(Value::Object(self.0.clone().into_iter().collect()))
    }

    /// The stage that ran.
    pub fn command(&self) -> Option<&str> {
        self.text("command")
    }

    /// Whether the two are the same run, whatever their input was at the time.
    pub fn is_same(&self, other: &RecordedRun) -> bool {
        self.settings() == other.settings()
    }

    /// A setting that is text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    pub(super) fn snapshot(&self) -> Option<&Value> {
        self.0.get(SNAPSHOT)
    }

    pub(super) fn set_snapshot(&mut self, snapshot: Value) {
        self.0.insert(SNAPSHOT.to_owned(), snapshot);
    }

    /// Each setting in which the two differ but for what their input was, as `name is X there, Y now`.
    pub(super) fn differences(&self, now: &RecordedRun) -> Vec<String> {
        differences(&self.settings(), &now.settings())
    }

    /// The same of what must agree where vectors of both are used together.
    pub(super) fn differences_of_vectors(&self, now: &RecordedRun) -> Vec<String> {
        let of = |run: &RecordedRun| -> BTreeMap<String, Value> {
            let parts = ["encoder", "numerics"].into_iter();
            parts.filter_map(|key| Some((key.to_owned(), run.0.get(key)?.clone()))).collect()
        };
        differences(&of(self), &of(now))
    }

    /// What has to be the same for a run to go on.
    fn settings(&self) -> BTreeMap<String, Value> {
        self.0.iter().filter(|(key, _)| *key != SNAPSHOT).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

fn differences(there: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Vec<String> {
    let (there, now) = (flat(there), flat(now));
    let mut keys: Vec<&String> = there.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    let show = |value: Option<&&Value>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
    keys.into_iter()
        .filter(|key| there.get(*key) != now.get(*key))
        .map(|key| format!("{key} is {} there, {} now", show(there.get(key)), show(now.get(key))))
        .collect()
}

/// The leaves of a run by their dotted paths, so that a difference names one setting and not a page of them.
fn flat(run: &BTreeMap<String, Value>) -> BTreeMap<String, &Value> {
    fn visit<'a>(path: String, value: &'a Value, leaves: &mut BTreeMap<String, &'a Value>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| visit(format!("{path}.{key}"), value, leaves));
            }
            leaf => {
                leaves.insert(path, leaf);
            }
        }
    }
    let mut leaves = BTreeMap::new();
    run.iter().for_each(|(key, value)| visit(key.clone(), value, &mut leaves));
    leaves
}
