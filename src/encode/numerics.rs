//! How vectors were computed.

use std::fmt;

use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as NoSuchName, StrDeserializer};
use serde::{Deserialize, Serialize};

use super::{Precision, Provider, ProviderChoice};

/// How vectors were computed. Vectors of different numerics do not mix within one dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numerics {
    /// The number format of the matrix products.
    pub precision: Precision,
    /// Who computed them: an execution provider and its device, such as `openvino-cpu`.
    pub provider: String,
    /// The digest of the calibration data of a quantised encoder.
    pub calibration: Option<String>,
    /// What a quantised encoder computes in beside its 8-bit products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floats: Option<Precision>,
}

impl Numerics {
    /// The provider that would compute like this again; `auto` where it is none that this program knows.
    pub fn provider_choice(&self) -> ProviderChoice {
        let named: StrDeserializer<'_, NoSuchName> = self.provider.as_str().into_deserializer();
        Provider::deserialize(named).map_or(ProviderChoice::Auto, ProviderChoice::from)
    }

    /// Whether a GPU computed them.
    pub fn is_of_gpu(&self) -> bool {
        self.provider == Provider::Cuda.to_string()
    }

    /// One line for each part that differs, such as `precision: fp32 here, bf16 there`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let word = |precision: Option<Precision>| {
            precision.map_or_else(|| "none".to_owned(), |precision| precision.to_string())
        };
        let digest = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "none".to_owned());
        let rows = [
            ("precision", word(Some(self.precision)), word(Some(other.precision))),
            ("provider", self.provider.clone(), other.provider.clone()),
            ("calibration", digest(&self.calibration), digest(&other.calibration)),
            ("floats", word(self.floats), word(other.floats)),
        ];
        rows.into_iter()
            .filter(|(_, here, there)| here != there)
            .map(|(part, here, there)| format!("{part}: {here} here, {there} there"))
            .collect()
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.precision)?;
        self.floats.map_or(Ok(()), |floats| write!(formatter, "+{floats}"))?;
        write!(formatter, "/{}", self.provider)?;
        self.calibration.as_ref().map_or(Ok(()), |digest| write!(formatter, "/{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_of_a_dataset_is_the_one_to_ask_for() {
        for (provider, choice) in [
            ("openvino-cpu", ProviderChoice::OpenVino),
            ("mlas-cpu", ProviderChoice::Mlas),
            ("packed-cpu", ProviderChoice::Packed),
            ("cuda", ProviderChoice::Auto),
            ("another-one", ProviderChoice::Auto),
        ] {
            let provider = provider.to_owned();
            let numerics = Numerics { precision: Precision::Fp32, provider, calibration: None, floats: None };
            assert_eq!(numerics.provider_choice(), choice);
            assert_eq!(numerics.is_of_gpu(), numerics.provider == "cuda");
        }
    }

    #[test]
    fn numerics_read_as_one_word() {
        let int8 = Numerics {
            precision: Precision::Int8,
            provider: "mlas-cpu".to_owned(),
            calibration: Some("abc".to_owned()),
            floats: Some(Precision::Fp32),
        };
        assert_eq!(int8.to_string(), "int8+fp32/mlas-cpu/abc");
        let numerics = Numerics {
            precision: Precision::Bf16,
            provider: "openvino-cpu".to_owned(),
            calibration: None,
            floats: None,
        };
        assert_eq!(numerics.to_string(), "bf16/openvino-cpu");
        assert_eq!(
            numerics.differences(&int8),
            [
                "precision: bf16 here, int8 there",
                "provider: openvino-cpu here, mlas-cpu there",
                "calibration: none here, abc there",
                "floats: none here, fp32 there",
            ]
        );
        assert!(int8.differences(&int8).is_empty());
        let json = serde_json::to_string(&numerics).unwrap();
        assert_eq!(json, r#"{"precision":"bf16","provider":"openvino-cpu","calibration":null}"#);
    }
}
