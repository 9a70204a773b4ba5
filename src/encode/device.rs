//! The device that computes: the CPU, or GPUs of one machine.

use std::fmt;
use std::str::FromStr;

/// What `--device` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// The CPU: a GPU computes where it is asked for.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA devices.
    Cuda(Gpus),
}

/// Which GPUs, by their numbers below 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gpus(u64);

impl Gpus {
    /// Their numbers, in order; at least one.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |number| self.0 >> number & 1 == 1)
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl DeviceChoice {
    /// The GPUs that are asked for.
    pub fn gpus(self) -> Option<Gpus> {
        match self {
            Self::Cuda(gpus) => Some(gpus),
            Self::Auto | Self::Cpu => None,
        }
    }
}

impl fmt::Display for Gpus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.numbers().map(|number| number.to_string()).collect();
        formatter.pad(&format!("cuda:{}", numbers.join(",")))
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.pad("auto"),
            Self::Cpu => formatter.pad("cpu"),
            Self::Cuda(gpus) => gpus.fmt(formatter),
        }
    }
}

/// A device that there is no word for.
#[derive(Debug, thiserror::Error)]
#[error("unknown device `{given}`; the choices are auto, cpu, cuda, cuda:N and, for several GPUs, cuda:N,N")]
pub struct UnknownDevice {
    given: String,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<DeviceChoice, UnknownDevice> {
        let unknown = || UnknownDevice { given: name.to_owned() };
        let numbers = match name {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => "0",
            _ => name.strip_prefix("cuda:").ok_or_else(unknown)?,
        };
        let mut gpus = 0;
        for number in numbers.split(',') {
            let number: u32 = number.parse().ok().filter(|number| *number < 64).ok_or_else(unknown)?;
            gpus |= 1 << number;
        }
        Ok(Self::Cuda(Gpus(gpus)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_and_read_as_they_are_given() {
        let parse = |name: &str| name.parse::<DeviceChoice>();
        for (given, read, numbers) in
            [("cuda", "cuda:0", &[0][..]), ("cuda:3", "cuda:3", &[3]), ("cuda:2,0", "cuda:0,2", &[0, 2])]
        {
            let device = parse(given).unwrap();
            assert_eq!(device.to_string(), read);
            assert_eq!(device.gpus().unwrap().numbers().collect::<Vec<_>>(), numbers);
            assert_eq!(parse(read).unwrap(), device);
        }
        assert!(parse("auto").unwrap().gpus().is_none() && parse("cpu").unwrap().gpus().is_none());
        for wrong in ["gpu", "cuda:", "cuda:x", "cuda:64", "cuda:0,", "CPU"] {
            assert!(parse(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
        }
    }
}
