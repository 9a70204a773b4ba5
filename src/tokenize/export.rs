//! A model's tokenizer.json for programs that use Hugging Face's tokenizers: what is done here to a text, the file says.

use std::path::Path;

use serde_json::{Value, json};

use super::tokenizer::pad_token;
use super::{Error, Result, Truncation, Window};

/// The file of a model folder, as it is but with this window as its truncation, and padded to the longest of a batch.
///
/// # Errors
/// A usage error where Hugging Face's tokenizers cannot cut so; else where the file is missing or corrupt.
pub(crate) fn exported(model_dir: &Path, window: Window) -> Result<String> {
    let direction = match window.truncation {
        Truncation::Head => "Right",
        Truncation::Tail => "Left",
        Truncation::HeadTail => return Err(Error::NoSuchCut { truncation: window.truncation }),
    };
    let path = model_dir.join("tokenizer.json");
    let text = fs_err::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let mut json: Value =
        serde_json::from_slice(&text).map_err(|source| Error::Parse { path: path.clone(), source })?;
    let (token, id) = pad_token(&json).ok_or(Error::NoPadding { path })?;
    json["truncation"] = json!({
        "direction": direction, "max_length": window.max_length, "strategy": "LongestFirst", "stride": 0,
    });
    json["padding"] = json!({
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": id, "pad_type_id": 0,
        "pad_token": token,
    });
    Ok(json.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(json: &Value) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
        folder
    }

    #[test]
    fn the_window_becomes_the_files_own_truncation() {
        let file = json!({"truncation": null, "padding": null, "added_tokens": [], "model": {"vocab": {"[PAD]": 7}}});
        let folder = folder(&file);
        for (truncation, direction) in [(Truncation::Head, "Right"), (Truncation::Tail, "Left")] {
            let found = exported(folder.path(), Window { max_length: 99, truncation }).unwrap();
            let found: Value = serde_json::from_str(&found).unwrap();
            assert_eq!(
                (&found["truncation"]["max_length"], &found["truncation"]["direction"]),
                (&json!(99), &json!(direction))
            );
            assert_eq!((&found["padding"]["pad_id"], &found["padding"]["pad_token"]), (&json!(7), &json!("[PAD]")));
            assert_eq!(found["model"], file["model"]);
        }
    }

    #[test]
    fn what_such_a_file_cannot_say_is_refused() {
        let none = folder(&json!({"model": {"vocab": {"a": 1}}}));
        let head_tail = Window { max_length: 99, truncation: Truncation::HeadTail };
        let error = exported(none.path(), head_tail).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("head-tail"), "{error}");
        let error = exported(none.path(), 99.into()).unwrap_err();
        assert!(!error.is_usage() && error.to_string().contains("padding"), "{error}");
    }
}
