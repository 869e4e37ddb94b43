//! Counting how often a product is looked at: cheap, and never in the way of its buyers.

use uuid::Uuid;

/// Parts of `User-Agent` that say that nobody looks at the page.
const ROBOTS: [&str; 8] = [
    "bot", "crawl", "spider", "slurp", "preview", "headless", "monitor", "curl",
];

/// Whether a browser asks, as far as it says: robots that fetch every page again and again are no visitors.
#[must_use]
pub fn is_browser(user_agent: Option<&str>) -> bool {
    let agent = user_agent.unwrap_or_default().to_ascii_lowercase();
    agent.contains("mozilla") && !ROBOTS.iter().any(|robot| agent.contains(robot))
}

/// How many visits one write stands for: each visit of a product that few have seen, every tenth of a popular one. So a
/// crowd in front of one product does not use up the writes that its buyers need.
#[must_use]
pub fn weight(counted: u64) -> u64 {
    match counted {
        0..1_000 => 1,
        1_000..100_000 => 10,
        _ => 100,
    }
}

/// Whether this visit is the one of `weight` that is written.
#[must_use]
pub fn is_drawn(weight: u64) -> bool {
    Uuid::new_v4().as_u128().is_multiple_of(u128::from(weight.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_visit_and_robots_do_not() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        assert!(is_browser(Some(firefox)));
        for agent in [
            None,
            Some(""),
            Some("python-requests/2.32"),
            Some("curl/8.5"),
            Some("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
            Some("Mozilla/5.0 (compatible; Baiduspider/2.0)"),
        ] {
            assert!(!is_browser(agent), "{agent:?}");
        }
    }

    #[test]
    fn few_visits_are_counted_one_by_one_and_many_by_a_sample_that_adds_up() {
        assert_eq!([0, 999, 1_000, 99_999, 100_000].map(weight), [1, 1, 10, 10, 100]);
        assert!((0..100).all(|_| is_drawn(1)));
        let drawn = (0..100_000).filter(|_| is_drawn(10)).count();
        assert!((9_000..11_000).contains(&drawn), "{drawn}");
    }
}
