//! Amounts as the companies write them. The simulator keeps whole fen (1/100 yuan) in an `i64`.

/// The largest amount of one trade, in fen: Alipay's 100,000,000.00 yuan; WeChat Pay's is lower and not published.
pub(super) const LARGEST: i64 = 10_000_000_000;

/// `1990` as `19.90`, `-5` as `-0.05`.
pub(super) fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.unsigned_abs() / 100, fen.unsigned_abs() % 100)
}

/// `19.9` as `1990`; `None` for what is no positive amount with at most two decimals.
pub(super) fn fen(yuan: &str) -> Option<i64> {
    let (whole, decimals) = yuan.split_once('.').unwrap_or((yuan, "0"));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|character| character.is_ascii_digit())
    };
    if !digits(whole, 9) || !digits(decimals, 2) {
        return None;
    }
    let cents = format!("{decimals:0<2}");
    let fen = whole.parse::<i64>().ok()?.checked_mul(100)? + cents.parse::<i64>().ok()?;
    (1..=LARGEST).contains(&fen).then_some(fen)
}

/// What a company keeps of a payment: 0.6 percent, rounded to whole fen.
pub(super) fn fee(fen: i64) -> i64 {
    (fen * 6 + 500).div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_and_read_digit_by_digit() {
        for (text, value) in [
            ("0.01", 1),
            ("19.9", 1_990),
            ("19.90", 1_990),
            ("7", 700),
            ("100000000.00", LARGEST),
        ] {
            assert_eq!(fen(text), Some(value), "{text}");
        }
        for text in [
            "",
            "0",
            "0.00",
            "-1",
            "1.",
            ".5",
            "1.234",
            "1e3",
            "1,0",
            " 1",
            "100000000.01",
        ] {
            assert_eq!(fen(text), None, "{text}");
        }
        assert_eq!(
            (yuan(1_990), yuan(5), yuan(-1_205)),
            ("19.90".into(), "0.05".into(), "-12.05".into())
        );
    }

    #[test]
    fn the_fee_is_rounded_to_whole_fen() {
        assert_eq!((fee(10_000), fee(83), fee(84), fee(1)), (60, 0, 1, 0));
    }
}
