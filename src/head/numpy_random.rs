//! NumPy's legacy generator (`RandomState`: MT19937 and the draws that a split needs).
//!
//! The split that a recipe names by its seed has to be the one that scikit-learn makes, row for row, so that figures can
//! be compared with those made in Python. NumPy froze this generator's streams, so there is nothing to follow.

const STATE: usize = 624;
const SHIFT: usize = 397;

/// `numpy.random.RandomState(seed)`, for the draws used here.
pub(super) struct RandomState {
    state: [u32; STATE],
    position: usize,
}

impl RandomState {
    /// Seeds as `RandomState(seed)` does for an integer.
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [0u32; STATE];
        state[0] = seed;
        for index in 1..STATE {
            let previous = state[index - 1];
            state[index] = (previous ^ (previous >> 30)).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
        }
        Self { state, position: STATE }
    }

    fn twist(&mut self) {
        for index in 0..STATE {
            let mixed = (self.state[index] & 0x8000_0000) | (self.state[(index + 1) % STATE] & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + SHIFT) % STATE] ^ (mixed >> 1) ^ odd;
        }
        self.position = 0;
    }

    fn next_u32(&mut self) -> u32 {
        if self.position == STATE {
            self.twist();
        }
        let mut value = self.state[self.position];
        self.position += 1;
        value ^= value >> 11;
        value ^= (value << 7) & 0x9d2c_5680;
        value ^= (value << 15) & 0xefc6_0000;
        value ^ (value >> 18)
    }

    /// A draw from `0..=largest` by masked rejection, as `random_interval` does.
    fn up_to(&mut self, largest: u64) -> u64 {
        if largest == 0 {
            return 0;
        }
        let mask = u64::MAX >> largest.leading_zeros();
        loop {
            let value = if largest <= u64::from(u32::MAX) {
                u64::from(self.next_u32())
            } else {
                let high = u64::from(self.next_u32());
                high << 32 | u64::from(self.next_u32())
            } & mask;
            if value <= largest {
                return value;
            }
        }
    }

    /// `RandomState.shuffle` of a one-dimensional array.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = self.up_to(index as u64) as usize;
            items.swap(index, other);
        }
    }

    /// `RandomState.permutation(count)`.
    pub(super) fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut items: Vec<usize> = (0..count).collect();
        self.shuffle(&mut items);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_numpys() {
        let mut generator = RandomState::new(42);
        let drawn: Vec<u32> = (0..3).map(|_| generator.next_u32()).collect();
        assert_eq!(drawn, [1_608_637_542, 3_421_126_067, 4_083_286_876]);
    }

    #[test]
    fn permutations_are_numpys() {
        assert_eq!(RandomState::new(42).permutation(10), [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
    }

    #[test]
    fn nothing_and_one_need_no_draw() {
        let mut generator = RandomState::new(1);
        assert!(generator.permutation(0).is_empty());
        assert_eq!(generator.permutation(1), [0]);
        assert_eq!(generator.next_u32(), RandomState::new(1).next_u32());
    }
}
