//! The one place of every lowering that multiplies by weights: in floats, or in 8 bits where a site says so.
//!
//! 8 bits are written as quantise and dequantise nodes around an ordinary product (the QDQ form of ONNX), which both
//! OpenVINO and ONNX Runtime turn into integer products, and which any other runtime computes alike, only slower.

use super::super::model::Linear;
use super::nodes::Nodes;
use super::site::{Site, quantise_weights};
use crate::onnx::{AttributeProto, TensorProto};

impl Nodes<'_> {
    /// `rows x weight`, [rows, tokens, inputs] to [rows, tokens, outputs], without the bias.
    pub(super) fn product(&mut self, linear: &Linear, rows: &str) -> String {
        let Linear { name, inputs, outputs, weight, .. } = linear;
        let site = self.sites.iter().find(|site| site.products.contains(name));
        let (rows, weight) = match site {
            None => (rows.to_owned(), self.floats(format!("{name}.weight"), &[*inputs, *outputs], weight)),
            Some(site) => (self.rounded_rows(site, rows), self.rounded_weight(site, linear)),
        };
        self.add("MatMul", &[&rows, &weight], &format!("{name}/product"), vec![])
    }

    /// Rows that have been through 8 bits; shared by all products that take them.
    fn rounded_rows(&mut self, site: &Site, rows: &str) -> String {
        let (rounded, name) = (format!("{rows}/rounded"), |part: &str| format!("{rows}/{part}"));
        if self.has(&rounded) {
            return rounded;
        }
        let mut smoothed = rows.to_owned();
        if !site.smoothing.is_empty() {
            let factors: Vec<f32> = site.smoothing.iter().map(|divisor| 1.0 / divisor).collect();
            let factors = self.floats(name("smoothing"), &[factors.len()], &factors);
            smoothed = self.add("Mul", &[rows, &factors], &name("smoothed"), vec![]);
        }
        let (scale, zero) = site.scale_and_zero();
        let scale = self.floats(name("scale"), &[], &[scale]);
        self.constant(TensorProto::uint8s(&name("zero"), &[], &[zero]));
        let bytes = self.add("QuantizeLinear", &[&smoothed, &scale, &name("zero")], &name("bytes"), vec![]);
        self.add("DequantizeLinear", &[&bytes, &scale, &name("zero")], &rounded, vec![])
    }

    /// A weight in 8 bits, symmetric, a scale for each output; what the rows are divided by is multiplied in.
    fn rounded_weight(&mut self, site: &Site, linear: &Linear) -> String {
        let Linear { name, inputs, outputs, .. } = linear;
        let (bytes, scales) = quantise_weights(linear, &site.smoothing);
        let [stored, zeros] = ["bytes", "zeros"].map(|part| format!("{name}.weight/{part}"));
        self.constant(TensorProto::int8s(&stored, &[*inputs, *outputs], &bytes));
        self.constant(TensorProto::int8s(&zeros, &[*outputs], &vec![0; *outputs]));
        let scales = self.floats(format!("{name}.weight/scales"), &[*outputs], &scales);
        let axis = vec![AttributeProto::int("axis", 1)];
        self.add("DequantizeLinear", &[&stored, &scales, &zeros], &format!("{name}.weight/rounded"), axis)
    }
}
