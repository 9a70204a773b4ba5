//! Decides which further columns the reviews carry and what they are called.
//!
//! A dataset has one schema, so the columns to keep are settled over all sources before the first is read; a source
//! that lacks one has nulls in it.

use super::columns::Columns;
use super::error::quoted;
use super::peek::Layout;
use super::{Error, KeepColumns, Result};

/// The columns of every reviews dataset; a kept column of the same name is renamed.
const OWN_NAMES: [&str; 4] = ["source_file", "row", "text", "label"];

/// A column to keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeptColumn {
    /// Its name in the sources.
    pub name: String,
    /// Its name in the reviews.
    pub output: String,
}

/// The columns to keep over all sources. `strict` says that a named one must be in one of these sources; where some
/// input is Parquet it may be there.
pub(super) fn settle(keep: &KeepColumns, layouts: &[Option<Layout>], strict: bool) -> Result<Vec<KeptColumn>> {
    let layouts = || layouts.iter().flatten();
    let mut names: Vec<String> = Vec::new();
    match keep {
        KeepColumns::None => {}
        KeepColumns::All | KeepColumns::Every => {
            for layout in layouts() {
                let Layout { columns: Columns { others, .. }, names: every, .. } = layout;
                let wanted = if *keep == KeepColumns::All { others } else { every };
                for name in wanted {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
            }
        }
        KeepColumns::Named(asked) => {
            for name in asked {
                if strict && !layouts().any(|layout| layout.names.contains(name)) {
                    let mut all: Vec<&String> = layouts().flat_map(|layout| &layout.names).collect();
                    all.sort();
                    all.dedup();
                    let columns = if all.is_empty() { "none".to_owned() } else { quoted(&all) };
                    return Err(Error::NoSuchKeptColumn { column: name.clone(), columns });
                }
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
    }
    let mut taken: Vec<String> = OWN_NAMES.iter().map(|name| (*name).to_owned()).collect();
    taken.extend(names.iter().filter(|name| !OWN_NAMES.contains(&name.as_str())).cloned());
    let output = |name: &String| {
        let mut output = name.clone();
        if OWN_NAMES.contains(&name.as_str()) {
            while taken.contains(&output) {
                output.push_str("_input");
            }
        }
        output
    };
    Ok(names.iter().map(|name| KeptColumn { name: name.clone(), output: output(name) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str, others: &[&str]) -> Option<Layout> {
        let mut names = vec![text.to_owned()];
        names.extend(others.iter().map(|name| (*name).to_owned()));
        let columns = Columns::new(&names, text.to_owned(), None, false);
        Some(Layout { columns, names, delimited: None })
    }

    fn outputs(kept: &[KeptColumn]) -> Vec<&str> {
        kept.iter().map(|column| column.output.as_str()).collect()
    }

    #[test]
    fn all_is_the_union_and_collisions_are_renamed() {
        let layouts = [layout("review", &["id", "row"]), None, layout("text", &["row_input", "id"])];
        let kept = settle(&KeepColumns::All, &layouts, true).unwrap();
        assert_eq!(outputs(&kept), ["id", "row_input_input", "row_input"]);
    }

    #[test]
    fn a_named_column_must_be_somewhere() {
        let layouts = [layout("text", &["id"])];
        let named = |name: &str| KeepColumns::Named(vec![name.to_owned()]);
        let error = settle(&named("ID"), &layouts, true).unwrap_err();
        assert_eq!(error.to_string(), "no input has a column `ID` to keep; the columns are `id`, `text`");
        assert_eq!(outputs(&settle(&named("text"), &layouts, true).unwrap()), ["text_input"]);
        assert_eq!(outputs(&settle(&named("other"), &layouts, false).unwrap()), ["other"]);
    }
}
