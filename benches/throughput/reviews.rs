//! Made-up reviews of real words and IMDB's lengths, the same ones in every run.

use serde_json::Value;

/// Real words with their punctuation, so that WordPiece has whole words, pieces and capitals to deal with.
const DEMO: &str = include_str!("../../tests/demo/reviews.jsonl");
/// IMDB's median in tokens, and the spread of the logarithm of its lengths.
const MEDIAN_TOKENS: f64 = 230.0;
const SPREAD: f64 = 0.6;
/// What a word of the demo reviews makes on average.
const TOKENS_A_WORD: f64 = 1.28;

/// SplitMix64: short, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, but not including, 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f64) as usize
    }

    /// A length as IMDB's are spread, around `median`.
    fn length(&mut self, median: f64) -> f64 {
        // Twelve uniforms make a normal that is good enough for lengths.
        let normal = (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0;
        median * (SPREAD * normal).exp()
    }
}

/// `count` reviews whose median is about 230 tokens.
pub(crate) fn texts(count: usize) -> Vec<String> {
    let demo: Vec<String> = DEMO
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    let words: Vec<&str> = demo.iter().flat_map(|text| text.split_whitespace()).collect();
    let mut random = Random::new(7);
    (0..count)
        .map(|_| {
            let length = random.length(MEDIAN_TOKENS / TOKENS_A_WORD).max(8.0) as usize;
            (0..length).map(|_| words[random.below(words.len())]).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// `count` lengths in tokens, truncated at `max_length`.
pub(crate) fn lengths(count: usize, max_length: u32) -> Vec<u32> {
    let mut random = Random::new(7);
    (0..count).map(|_| (random.length(MEDIAN_TOKENS) as u32).clamp(12, max_length)).collect()
}
