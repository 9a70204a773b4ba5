//! What parsers do to texts and labels, as scalar functions of the plan for Parquet input.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::datatypes::{DataType, Field};
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::{ColumnarValue, Volatility, create_udf};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::ingest::{Clean, RAW_PREFIX_BYTES};

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

/// The first bytes of values that are no UTF-8, null for all others; `bytes` is Binary.
pub(super) fn broken(bytes: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let function = |arguments: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let prefix = |bytes: &[u8]| {
            std::str::from_utf8(bytes).is_err().then(|| bytes[..bytes.len().min(RAW_PREFIX_BYTES)].to_vec())
        };
        let broken: BinaryArray = arrays[0].as_binary::<i32>().iter().map(|bytes| prefix(bytes?)).collect();
        Ok(ColumnarValue::Array(Arc::new(broken) as ArrayRef))
    };
    scalar("broken_utf8", DataType::Binary, bytes, function)
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
    scalar(name, DataType::Utf8, argument, function)
}

/// A function of one argument that has the type of its result.
fn scalar(
    name: &str,
    kind: DataType,
    argument: Arc<dyn PhysicalExpr>,
    function: impl Fn(&[ColumnarValue]) -> Result<ColumnarValue> + Send + Sync + 'static,
) -> Arc<dyn PhysicalExpr> {
    let udf = create_udf(name, vec![kind.clone()], kind.clone(), Volatility::Immutable, Arc::new(function));
    let field = Arc::new(Field::new(name, kind, true));
    Arc::new(ScalarFunctionExpr::new(name, Arc::new(udf), vec![argument], field, Arc::new(ConfigOptions::default())))
}
