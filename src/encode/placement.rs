//! Which execution provider computes how many nodes of a graph.
//!
//! A provider leaves to the CPU what it has no kernel for, without a word to the caller: ONNX Runtime tells it in its log
//! alone. A GPU's session listens while it is opened, so that such nodes are counted and named.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What ONNX Runtime says of a graph whose nodes are all in one place, and of each place where there are several.
const PLACED: [&str; 2] = ["All nodes placed on [", "Node(s) placed on ["];

/// What has been heard so far.
#[derive(Debug, Default)]
pub(super) struct Placement {
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// Nodes of each provider, by ONNX Runtime's names.
    nodes: BTreeMap<String, usize>,
    /// The provider whose nodes are being listed.
    listing: Option<String>,
    /// Operators of the nodes on the CPU, and how many of each.
    on_cpu: BTreeMap<String, usize>,
}

/// Nodes that the CPU computes beside another provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnCpu {
    /// How many.
    pub nodes: usize,
    /// Of so many in all.
    pub of: usize,
    /// Their operators, each with its number of nodes.
    pub operators: Vec<(String, usize)>,
}

impl Placement {
    /// Takes a line of the log.
    pub(super) fn hear(&self, line: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line.trim();
        let Some(place) = PLACED.iter().find_map(|words| line.strip_prefix(words)) else {
            return heard.listed(line);
        };
        let Some((provider, count)) = place.split_once("]. Number of nodes: ") else { return };
        *heard.nodes.entry(provider.to_owned()).or_default() += count.parse::<usize>().unwrap_or(0);
        heard.listing = Some(provider.to_owned());
    }

    /// The nodes on the CPU, if there are any.
    pub(super) fn on_cpu(&self) -> Option<OnCpu> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = *heard.nodes.get("CPUExecutionProvider")?;
        let operators = heard.on_cpu.iter().map(|(operator, &nodes)| (operator.clone(), nodes)).collect();
        Some(OnCpu { nodes, of: heard.nodes.values().sum(), operators })
    }
}

impl Heard {
    /// A line such as `Gather (/embeddings/Gather)`, below the place of several.
    fn listed(&mut self, line: &str) {
        let node = line.strip_suffix(')').and_then(|line| line.split_once(" ("));
        match (node, self.listing.as_deref()) {
            (Some((operator, _)), Some("CPUExecutionProvider")) if !operator.contains(' ') => {
                *self.on_cpu.entry(operator.to_owned()).or_default() += 1;
            }
            (Some(_), _) => {}
            (None, _) => self.listing = None,
        }
    }
}

impl fmt::Display for OnCpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} nodes", self.nodes, self.of)?;
        let operators = self.operators.iter().map(|(operator, nodes)| format!("{operator} {nodes}"));
        match operators.collect::<Vec<_>>().join(", ") {
            operators if operators.is_empty() => Ok(()),
            operators => write!(formatter, " ({operators})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_by_place_and_named_on_the_cpu() {
        let placement = Placement::default();
        assert_eq!(placement.on_cpu(), None);
        let log = "Node placements\n Node(s) placed on [CPUExecutionProvider]. Number of nodes: 3\n  Shape (/Shape)\n  \
                   Gather (/Gather)\n  Shape (/Shape_1)\n Node(s) placed on [CUDAExecutionProvider]. Number of nodes: 9\n  \
                   Cast (/Cast)\n Use DeviceBasedPartition (default)\n  Shape (/elsewhere)";
        log.lines().for_each(|line| placement.hear(line));
        let on_cpu = placement.on_cpu().unwrap();
        assert_eq!(on_cpu.to_string(), "3 of 12 nodes (Gather 1, Shape 2)");
    }

    #[test]
    fn a_graph_that_is_all_on_the_device_has_none_on_the_cpu() {
        let placement = Placement::default();
        placement.hear(" All nodes placed on [CUDAExecutionProvider]. Number of nodes: 151");
        assert_eq!(placement.on_cpu(), None);
    }
}
