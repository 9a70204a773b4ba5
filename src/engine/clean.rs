//! What parsers do to texts and labels, as scalar functions of the plan for Parquet input.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field};
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::{ColumnarValue, Volatility, create_udf};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::ingest::Clean;

/// `text` after `clean`; the expression itself where there is nothing to do.
pub(super) fn clean(text: Arc<dyn PhysicalExpr>, clean: Clean) -> Arc<dyn PhysicalExpr> {
    match clean {
        Clean::None => text,
        _ => apply(&format!("clean_{clean}"), text, move |text| Some(clean.apply(text.to_owned()))),
    }
}

/// A label without outer white space; null where nothing is left.
pub(super) fn label(label: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    apply("trim_label", label, |label| Some(label.trim().to_owned()).filter(|label| !label.is_empty()))
}

fn apply(
    name: &str,
    argument: Arc<dyn PhysicalExpr>,
    change: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> Arc<dyn PhysicalExpr> {
    let function = move |arguments: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let changed: StringArray = arrays[0].as_string::<i32>().iter().map(|text| change(text?)).collect();
        Ok(ColumnarValue::Array(Arc::new(changed) as ArrayRef))
    };
    let udf = create_udf(name, vec![DataType::Utf8], DataType::Utf8, Volatility::Immutable, Arc::new(function));
    let field = Arc::new(Field::new(name, DataType::Utf8, true));
    Arc::new(ScalarFunctionExpr::new(name, Arc::new(udf), vec![argument], field, Arc::new(ConfigOptions::default())))
}
