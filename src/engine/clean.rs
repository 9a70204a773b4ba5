//! Text cleaning as a scalar function of the plan, for Parquet input (parsers clean what they parse themselves).

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
    if clean == Clean::None {
        return text;
    }
    let function = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let cleaned: StringArray =
            arrays[0].as_string::<i32>().iter().map(|text| text.map(|text| clean.apply(text.to_owned()))).collect();
        Ok(ColumnarValue::Array(Arc::new(cleaned) as ArrayRef))
    };
    let name = format!("clean_{clean}");
    let udf = create_udf(&name, vec![DataType::Utf8], DataType::Utf8, Volatility::Immutable, Arc::new(function));
    let field = Arc::new(Field::new(&name, DataType::Utf8, true));
    Arc::new(ScalarFunctionExpr::new(&name, Arc::new(udf), vec![text], field, Arc::new(ConfigOptions::default())))
}
