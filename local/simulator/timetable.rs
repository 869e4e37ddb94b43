//! When a notification that was not confirmed is sent again. Times are gaps since the try before, by the platform's clock.

use super::trade::Company;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Alipay sends eight times within about 25 hours (its open platform's page on asynchronous notifications).
const ALIPAY: [i64; 7] = [
    2 * MINUTE,
    10 * MINUTE,
    10 * MINUTE,
    HOUR,
    2 * HOUR,
    6 * HOUR,
    15 * HOUR,
];
/// WeChat Pay sends again fifteen times within about 24 hours (its page on payment notifications).
const WECHAT_PAY: [i64; 15] = [
    15 * SECOND,
    15 * SECOND,
    30 * SECOND,
    3 * MINUTE,
    10 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    60 * MINUTE,
    3 * HOUR,
    3 * HOUR,
    3 * HOUR,
    6 * HOUR,
    6 * HOUR,
];

/// Milliseconds from the try with this number, counted from 1, to the next one; `None` after the last.
pub(super) fn gap_after(company: Company, tries: u32) -> Option<i64> {
    let gaps: &[i64] = match company {
        Company::Alipay => &ALIPAY,
        Company::WechatPay => &WECHAT_PAY,
    };
    gaps.get(usize::try_from(tries).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(company: Company) -> (u32, i64) {
        let gaps: Vec<i64> = (1..).map_while(|tries| gap_after(company, tries)).collect();
        (u32::try_from(gaps.len()).unwrap() + 1, gaps.iter().sum())
    }

    #[test]
    fn alipay_tries_eight_times_in_about_a_day() {
        assert_eq!(tries(Company::Alipay), (8, 24 * HOUR + 22 * MINUTE));
        assert_eq!(gap_after(Company::Alipay, 0), None);
    }

    #[test]
    fn wechat_pay_repeats_fifteen_times_in_a_day() {
        assert_eq!(tries(Company::WechatPay), (16, 24 * HOUR + 4 * MINUTE));
    }
}
