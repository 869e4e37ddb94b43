//! The statement of a day: where it is, and what it says.
//!
//! `tradebill` answers with an address and a checksum. The file is UTF-8 with a byte order mark; each field stands behind a
//! backtick and is not quoted, so a title may hold what separates fields. A line of sums ends it.
//!
//! Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012791866> and the pages beside it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use kernel::Timestamp;
use serde::Deserialize;

use super::answer::Answer;
use crate::provider::{CURRENCY, Silence};
use crate::statement::{Columns, Day, Movement, Stated, StatementLine, misread, moment};

/// Where the statement of `day` is asked for.
pub(super) fn path(day: Day) -> String {
    format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL")
}

/// Where a statement is, and what it has to be.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    hash_type: String,
    hash_value: String,
    pub(super) download_url: String,
}

/// Where the statement is, or why there is none.
pub(super) fn place(answer: Result<Answer, Silence>, day: Day, now: Timestamp) -> Result<Place, Stated> {
    match answer.map_err(Stated::Unknown)? {
        Answer::Done(_, body) => {
            serde_json::from_slice(&body).map_err(|_| Stated::Unknown(misread("its address is missing")))
        }
        Answer::Refused(refusal) => Err(match refusal.code.as_str() {
            "STATEMENT_CREATING" => Stated::NotReady,
            "NO_STATEMENT_EXIST" => day.without_movements(now),
            // Of a day that is too long ago, for example: three months are kept.
            "PARAM_ERROR" | "INVALID_REQUEST" => Stated::Absent(refusal.reason()),
            _ => Stated::Unknown(refusal.into_silence()),
        }),
    }
}

impl Place {
    /// The lines of `file`, if it is what was promised. The download itself is not signed; the promise was.
    pub(super) fn read(&self, file: &[u8]) -> Result<Vec<StatementLine>, Silence> {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, file);
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if self.hash_type != "SHA1" || !self.hash_value.eq_ignore_ascii_case(&hash) {
            return Err(Silence("the statement is not the one that was promised".to_owned()));
        }
        lines(file)
    }
}

fn lines(file: &[u8]) -> Result<Vec<StatementLine>, Silence> {
    let text = std::str::from_utf8(file).map_err(|_| misread("it is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = text.lines();
    let columns = Columns::new(rows.next().unwrap_or_default().split(','), "商品名称")?;
    let [at, trade_no, out_trade_no, state, currency, refund_no, refund_state] = [
        "交易时间",
        "微信订单号",
        "商户订单号",
        "交易状态",
        "货币种类",
        "商户退款单号",
        "退款状态",
    ]
    .map(|name| columns.find(name));
    let (at, trade_no, out_trade_no, state) = (at?, trade_no?, out_trade_no?, state?);
    let (currency, refund_no, refund_state) = (currency?, refund_no?, refund_state?);
    let (total, returned) = (columns.find("订单金额")?, columns.find("申请退款金额")?);

    let (mut lines, mut read) = (Vec::new(), 0_usize);
    // The sums have a header of their own, which ends the list.
    for row in rows.by_ref().map_while(|row| row.strip_prefix('`')) {
        read += 1;
        let fields: Vec<&str> = row.split(",`").collect();
        if fields.len() < columns.count() {
            return Err(misread("a line is too short"));
        }
        if currency.of(&fields)? != CURRENCY {
            return Err(misread("a line is of another currency"));
        }
        let money = |text: &str| text.parse().map_err(|_| misread("a line has no amount"));
        let (movement, amount) = match (state.of(&fields)?, refund_state.of(&fields)?) {
            ("SUCCESS", _) => (Movement::Payment, money(total.of(&fields)?)?),
            // Nothing went back.
            ("REFUND", "FAIL") => continue,
            ("REFUND", how) => {
                let number = refund_no.of(&fields)?.to_owned();
                let is_done = how == "SUCCESS";
                (Movement::Refund { number, is_done }, money(returned.of(&fields)?)?)
            }
            // Called off by a till before anybody saw the money; there are no tills here.
            ("REVOKED", _) => continue,
            _ => return Err(misread("a line is of no known kind")),
        };
        lines.push(StatementLine {
            out_trade_no: out_trade_no.of(&fields)?.to_owned(),
            trade_no: trade_no.of(&fields)?.to_owned(),
            movement,
            amount,
            at: moment(at.of(&fields)?).ok_or_else(|| misread("a line has no time"))?,
        });
    }
    let sums = rows.next().and_then(|sums| sums.strip_prefix('`'));
    let counted = sums.and_then(|sums| sums.split(",`").next()?.parse().ok());
    match counted == Some(read) {
        true => Ok(lines),
        false => Err(misread("it does not have as many lines as it says")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_function::StatusCode;
    use kernel::Money;
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,\
        应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,\
        订单金额,申请退款金额,费率备注";
    const SUMS: &str = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

    fn row(state: &str, refund: (&str, &str), title: &str, total: &str, returned: &str) -> String {
        let (refund_no, refund_state) = refund;
        format!(
            "`2026-01-31 12:00:01,`wx1,`19,`0,`,`42000,`n1,`o1,`NATIVE,`{state},`OTHERS,`CNY,`{total},`0.00,`0,`{refund_no},\
             `{returned},`0.00,`,`{refund_state},`{title},`,`0.06000,`0.60%,`{total},`{returned},`"
        )
    }

    fn file(rows: &[String], counted: usize) -> String {
        let rows: String = rows.iter().map(|row| format!("{row}\r\n")).collect();
        format!("\u{feff}{HEAD}\r\n{rows}{SUMS}\r\n`{counted},`0.00,`0.00,`0.00,`0.00000,`0.00,`0.00\r\n")
    }

    #[test]
    fn payments_and_refunds_are_read_whatever_the_title_is() {
        for title in ["台灯", "a,`b,`c", ",`", "`", "=1+1", ""] {
            let rows = [
                row("SUCCESS", ("0", ""), title, "19.90", "0.00"),
                row("REFUND", ("r1", "SUCCESS"), title, "0.00", "5.00"),
                row("REFUND", ("r2", "PROCESSING"), title, "0.00", "1.00"),
                row("REFUND", ("r3", "FAIL"), title, "0.00", "1.00"),
            ];
            let read = lines(file(&rows, 4).as_bytes()).unwrap();
            let of = |number: &str, is_done| Movement::Refund {
                number: number.into(),
                is_done,
            };
            let seen: Vec<_> = read
                .iter()
                .map(|line| (line.movement.clone(), line.amount.fen()))
                .collect();
            assert_eq!(
                seen,
                [(Movement::Payment, 1990), (of("r1", true), 500), (of("r2", false), 100)],
                "{title}"
            );
            assert_eq!(
                (read[0].out_trade_no.as_str(), read[0].trade_no.as_str()),
                ("n1", "42000")
            );
            assert_eq!(read[0].at, moment("2026-01-31 12:00:01").unwrap());
        }
    }

    #[test]
    fn a_statement_that_is_cut_or_strange_is_not_believed() {
        let good = row("SUCCESS", ("0", ""), "x", "19.90", "0.00");
        let cut = file(std::slice::from_ref(&good), 1);
        let wrong = [
            String::new(),
            "x".to_owned(),
            HEAD.to_owned(),
            file(std::slice::from_ref(&good), 2),
            cut[..cut.find(SUMS).unwrap()].to_owned(),
            file(&[good.replace("19.90", "19.901")], 1),
            file(&[good.replace("19.90", "-19.90")], 1),
            file(&[good.replace("CNY", "USD")], 1),
            file(&[good.replace("SUCCESS", "NEW")], 1),
            file(&[good.replace("2026-01-31 12", "yesterday 12")], 1),
            file(&[good.replace(",`OTHERS", "")], 1),
            file(&[good], 1).replace("商户订单号", "订单号"),
        ];
        for text in wrong {
            assert!(lines(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(lines(file(&[], 0).as_bytes()), Ok(vec![]));
    }

    #[test]
    fn what_was_not_promised_is_not_read() {
        let text = file(&[], 0);
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let place = |kind: &str, hash: &str| Place {
            hash_type: kind.into(),
            hash_value: hash.into(),
            download_url: "https://a".into(),
        };
        assert!(place("SHA1", &hash).read(text.as_bytes()).is_ok());
        assert!(
            place("SHA1", &hash)
                .read(text.replace("0.00", "9.99").as_bytes())
                .is_err()
        );
        assert!(place("MD5", &hash).read(text.as_bytes()).is_err());
        assert!(place("SHA1", "").read(text.as_bytes()).is_err());
    }

    #[test]
    fn a_statement_that_is_not_there_has_a_reason() {
        let day: Day = "2026-01-31".parse().unwrap();
        let ready = day.is_stated_from();
        let refused = |code: &str, now| {
            let refusal = serde_json::from_value(serde_json::json!({"code": code, "message": "x"})).unwrap();
            place(Ok(Answer::Refused(refusal)), day, now).unwrap_err()
        };
        assert_eq!(refused("STATEMENT_CREATING", ready), Stated::NotReady);
        assert_eq!(refused("NO_STATEMENT_EXIST", ready), Stated::Lines(vec![]));
        assert_eq!(refused("NO_STATEMENT_EXIST", day.end()), Stated::NotReady);
        assert!(matches!(refused("PARAM_ERROR", ready), Stated::Absent(_)));
        assert!(matches!(refused("SYSTEM_ERROR", ready), Stated::Unknown(_)));
        for body in ["", "{}", "[]", r#"{"hash_type":"SHA1","hash_value":""}"#] {
            let answer = Answer::Done(StatusCode::OK, Bytes::copy_from_slice(body.as_bytes()));
            assert!(
                matches!(place(Ok(answer), day, ready), Err(Stated::Unknown(_))),
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = lines(&bytes);
        }

        #[test]
        fn a_damaged_statement_is_read_or_refused(at in 0..900_usize, byte in any::<u8>(), title in ".{0,20}") {
            let mut bytes = file(&[row("SUCCESS", ("0", ""), &title, "19.90", "0.00")], 1).into_bytes();
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            if let Ok(read) = lines(&bytes) {
                prop_assert!(read.iter().all(|line| line.amount <= Money::MAX));
            }
        }
    }
}
