//! When orders are meant to start: decided before the run by rate and seed alone, whatever the server does.

use std::time::{Duration, Instant};

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The numbers of one thing (an order, say) of a run.
    pub fn new(seed: u64, thing: u64) -> Self {
        let mut draw = Self(seed ^ thing.wrapping_mul(0xd134_2543_de82_ef95));
        draw.next();
        draw
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..count`. The bias of the remainder is below one in a billion for any count used here.
    pub fn below(&mut self, count: u64) -> u64 {
        self.next() % count.max(1)
    }

    /// A number in `0.0..1.0`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Gaps between intended starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// All alike.
    Even,
    /// Exponential: orders come independently of each other, and sometimes close together.
    Poisson,
}

/// The intended starts of a run, as time since its beginning, in order. Endless: the caller stops at its duration.
#[derive(Debug, Clone)]
pub struct Arrivals {
    gaps: Gaps,
    rate: f64,
    draw: Draw,
    count: u64,
    at_seconds: f64,
}

impl Arrivals {
    /// Starts `rate` orders a second (more than 0) on average.
    pub fn new(rate: f64, gaps: Gaps, seed: u64) -> Self {
        Self { gaps, rate, draw: Draw::new(seed, u64::MAX), count: 0, at_seconds: 0.0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer orders than 2^52")]
    fn next(&mut self) -> Option<Duration> {
        let at = Duration::from_secs_f64(self.at_seconds);
        self.count += 1;
        self.at_seconds = match self.gaps {
            // From the count and not from the sum of gaps: no rounding error adds up.
            Gaps::Even => self.count as f64 / self.rate,
            Gaps::Poisson => self.at_seconds - (1.0 - self.draw.fraction()).ln() / self.rate,
        };
        Some(at)
    }
}

/// Calls `start` at each intended instant until `duration` after `beginning`, with that instant. When the caller's thread
/// was held up, the starts it missed follow at once, each with the instant at which it should have been.
///
/// It blocks its thread and sleeps on the operating system's timer, since the runtime's timer wheel only knows whole
/// milliseconds: that would be a third of the latency to be measured.
pub fn pace(beginning: Instant, duration: Duration, arrivals: Arrivals, mut start: impl FnMut(Instant)) {
    for offset in arrivals.take_while(|offset| *offset < duration) {
        let intended = beginning + offset;
        if let Some(wait) = intended.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        start(intended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_arrivals_keep_their_distance_for_ever() {
        let starts: Vec<Duration> = Arrivals::new(1000.0, Gaps::Even, 1).take(100_001).collect();
        assert_eq!(starts[0], Duration::ZERO);
        assert_eq!(starts[1], Duration::from_millis(1));
        assert_eq!(starts[100_000], Duration::from_secs(100));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_scatter() {
        let starts: Vec<f64> =
            Arrivals::new(200.0, Gaps::Poisson, 7).take(100_001).map(|start| start.as_secs_f64()).collect();
        let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / 100_000.0;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 100_000.0;
        assert!((mean - 0.005).abs() < 0.000_1, "{mean}");
        assert!((variance.sqrt() - mean).abs() < 0.000_2, "an exponential scatters as much as its mean: {variance}");
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| (0..1000).map(|order| Draw::new(seed, order).below(100)).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..100).all(|value| draw(1).contains(&value)), "every value comes up");
    }

    #[test]
    fn a_driver_that_was_held_up_keeps_the_intended_instants() {
        let beginning = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let mut intended = Vec::new();
        pace(beginning, Duration::from_millis(500), Arrivals::new(100.0, Gaps::Even, 1), |at| intended.push(at));
        assert_eq!(intended.len(), 50);
        assert_eq!(intended[49], beginning + Duration::from_millis(490));
        assert!(Instant::now() < beginning + Duration::from_secs(2), "they were all due, so that none waited");
    }
}
