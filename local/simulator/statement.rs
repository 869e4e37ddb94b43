//! The daily statements, each in its company's own form.

use std::io::{Cursor, Write as _};

use encoding_rs::GBK;
use sha1::{Digest as _, Sha1};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::amount::{fee, yuan};
use super::moment::{self, Day};
use super::trade::{Company, Outcome, Refund, Trade, Way};
use super::{ALIPAY_SELLER_ID, SimulatorError, WECHAT_APP_ID, WECHAT_MERCHANT_ID};

/// Money that moved.
struct Movement<'a> {
    at_ms: i64,
    trade: &'a Trade,
    refund: Option<&'a Refund>,
}

/// What moved on a day at a company, in order.
fn movements<'a>(trades: &'a [Trade], company: Company, day: &Day) -> Vec<Movement<'a>> {
    let mut movements = Vec::new();
    for trade in trades.iter().filter(|trade| trade.company == company) {
        if let Some(at_ms) = trade.paid_ms().filter(|at_ms| day.contains(*at_ms)) {
            movements.push(Movement {
                at_ms,
                trade,
                refund: None,
            });
        }
        for refund in &trade.refunds {
            if let Outcome::Succeeded { at_ms } = refund.outcome
                && day.contains(at_ms)
            {
                movements.push(Movement {
                    at_ms,
                    trade,
                    refund: Some(refund),
                });
            }
        }
    }
    movements.sort_by_key(|movement| movement.at_ms);
    movements
}

const WECHAT_COLUMNS: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,\
付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,\
商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const WECHAT_SUMMARY_COLUMNS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

/// WeChat Pay's statement of a day, with the byte order mark that it begins with; `None` if nothing moved.
pub(super) fn wechat_pay(trades: &[Trade], day: &Day) -> Option<String> {
    let movements = movements(trades, Company::WechatPay, day);
    if movements.is_empty() {
        return None;
    }
    let mut lines = vec![WECHAT_COLUMNS.to_owned()];
    let (mut paid, mut returned, mut fees) = (0, 0, 0);
    for movement in &movements {
        let trade = movement.trade;
        let zero = || "0.00".to_owned();
        let (state, refund_id, refund_no, kind, outcome) = match movement.refund {
            None => ("SUCCESS", "0", "0", "", ""),
            Some(refund) => (
                "REFUND",
                refund.refund_id.as_str(),
                refund.refund_no.as_str(),
                "ORIGINAL",
                "SUCCESS",
            ),
        };
        let amount = movement
            .refund
            .map_or(trade.wish.amount_fen, |refund| refund.amount_fen);
        let (settled, refunded, fee) = match movement.refund {
            None => (yuan(amount), zero(), fee(amount)),
            Some(_) => (zero(), yuan(amount), -fee(amount)),
        };
        match movement.refund {
            None => paid += amount,
            Some(_) => returned += amount,
        }
        fees += fee;
        let fields = [
            moment::plain(movement.at_ms),
            WECHAT_APP_ID.to_owned(),
            WECHAT_MERCHANT_ID.to_owned(),
            "0".to_owned(),
            String::new(),
            trade.trade_no.clone(),
            trade.wish.out_trade_no.clone(),
            openid(trade),
            trade_type(trade.wish.way).to_owned(),
            state.to_owned(),
            "OTHERS".to_owned(),
            "CNY".to_owned(),
            settled.clone(),
            zero(),
            refund_id.to_owned(),
            refund_no.to_owned(),
            refunded.clone(),
            zero(),
            kind.to_owned(),
            outcome.to_owned(),
            one_line(&trade.wish.title),
            one_line(trade.wish.attach.as_deref().unwrap_or_default()),
            format!("{}000", yuan(fee)),
            "0.60%".to_owned(),
            settled,
            refunded,
            String::new(),
        ];
        lines.push(quoted(&fields));
    }
    lines.push(WECHAT_SUMMARY_COLUMNS.to_owned());
    lines.push(quoted(&[
        movements.len().to_string(),
        yuan(paid),
        yuan(returned),
        yuan(0),
        format!("{}000", yuan(fees)),
        yuan(paid),
        yuan(returned),
    ]));
    Some(format!("\u{feff}{}\r\n", lines.join("\r\n")))
}

/// Every field after a backtick, so that spreadsheets leave the numbers alone.
fn quoted(fields: &[String]) -> String {
    let quoted: Vec<String> = fields.iter().map(|field| format!("`{field}")).collect();
    quoted.join(",")
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n', '\t'], " ")
}

/// Lower-case hexadecimal SHA-1, as WeChat Pay states it of its statements.
pub(super) fn sha1_of(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// WeChat Pay's name for the buyer.
pub(super) fn openid(trade: &Trade) -> String {
    trade
        .wish
        .openid
        .clone()
        .unwrap_or_else(|| "oSimulated0Buyer0Of0Everything".to_owned())
}

/// WeChat Pay's name for a way to pay.
pub(super) fn trade_type(way: Way) -> &'static str {
    match way {
        Way::InApp => "JSAPI",
        Way::MobilePage => "MWEB",
        Way::QrCode | Way::Page => "NATIVE",
    }
}

const ALIPAY_COLUMNS: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,\
对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,\
商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
const ALIPAY_SUMMARY_COLUMNS: &str = "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,\
支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）";

/// Alipay's statement of a day, a ZIP of two GBK files; `None` if nothing moved.
pub(super) fn alipay(trades: &[Trade], day: &Day, now_ms: i64) -> Result<Option<Vec<u8>>, SimulatorError> {
    let Some((details, summary)) = alipay_files(trades, day, now_ms) else {
        return Ok(None);
    };
    let stem = format!("{ALIPAY_SELLER_ID}0156_{}", day.compact());
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, text) in [
        (format!("{stem}_业务明细.csv"), details),
        (format!("{stem}_业务明细(汇总).csv"), summary),
    ] {
        archive.start_file(name, options)?;
        archive.write_all(&gbk(&text)).map_err(zip::result::ZipError::Io)?;
    }
    Ok(Some(archive.finish()?.into_inner()))
}

/// The two files' texts.
fn alipay_files(trades: &[Trade], day: &Day, now_ms: i64) -> Option<(String, String)> {
    let movements = movements(trades, Company::Alipay, day);
    if movements.is_empty() {
        return None;
    }
    let line = |before: usize, text: &str, after: usize| format!("#{}{text}{}", "-".repeat(before), "-".repeat(after));
    let exported = format!("#导出时间：[{}]", moment::chinese(now_ms));
    let head = |kind: &str| {
        vec![
            format!("#支付宝业务{kind}查询"),
            format!("#账号：[{ALIPAY_SELLER_ID}0156]"),
            format!(
                "#起始日期：[{}]   终止日期：[{}]",
                moment::chinese(day.start_ms),
                moment::chinese(day.end_ms)
            ),
            line(41, &format!("业务{kind}列表"), 40),
        ]
    };
    let mut details = head("明细");
    details.push(ALIPAY_COLUMNS.to_owned());
    let (mut payments, mut paid, mut refunds, mut returned, mut fees) = (0, 0, 0, 0, 0);
    for movement in &movements {
        let trade = movement.trade;
        let (kind, amount, refund_no, created_ms) = match movement.refund {
            None => ("交易", trade.wish.amount_fen, "", trade.created_ms),
            Some(refund) => (
                "退款",
                -refund.amount_fen,
                refund.refund_no.as_str(),
                refund.requested_ms,
            ),
        };
        // What Alipay keeps is taken off a payment and given back with a refund.
        let fee = if amount > 0 { -fee(amount) } else { fee(-amount) };
        if amount > 0 {
            payments += 1;
            paid += amount;
        } else {
            refunds += 1;
            returned += amount;
        }
        fees += fee;
        let zero = || "0.00".to_owned();
        // Numbers and times are padded with a tab, so that spreadsheets leave them alone.
        let fields = [
            format!("{}\t", trade.trade_no),
            format!("{}\t", trade.wish.out_trade_no),
            kind.to_owned(),
            field(&trade.wish.title),
            format!("{}\t", moment::plain(created_ms)),
            format!("{}\t", moment::plain(movement.at_ms)),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            "*买家(159****5620)".to_owned(),
            yuan(amount),
            yuan(amount),
            zero(),
            zero(),
            zero(),
            zero(),
            zero(),
            String::new(),
            zero(),
            zero(),
            format!("{refund_no}\t"),
            yuan(fee),
            zero(),
            String::new(),
        ];
        details.push(fields.join(","));
    }
    details.push(line(41, "业务明细列表结束", 36));
    details.push(format!(
        "#交易合计：{payments}笔，商家实收共{}元，商家优惠共0.00元",
        yuan(paid)
    ));
    details.push(format!(
        "#退款合计：{refunds}笔，商家实收退款共{}元，商家优惠退款共0.00元",
        yuan(returned)
    ));
    details.push(exported.clone());

    let mut summary = head("汇总");
    summary.push(ALIPAY_SUMMARY_COLUMNS.to_owned());
    let net = paid + returned;
    let fields = [
        "合计".to_owned(),
        String::new(),
        payments.to_string(),
        refunds.to_string(),
        yuan(net),
        yuan(net),
        yuan(0),
        yuan(0),
        yuan(0),
        yuan(fees),
        yuan(0),
        yuan(net + fees),
    ];
    summary.push(fields.join(","));
    summary.push(line(40, "业务汇总列表结束", 37));
    summary.push(exported);
    Some((details.join("\r\n") + "\r\n", summary.join("\r\n") + "\r\n"))
}

/// A field of text: quoted where it holds what separates fields.
fn field(text: &str) -> String {
    let text = one_line(text);
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// GBK, with a question mark for what it does not have.
fn gbk(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut single = [0; 4];
    for character in text.chars() {
        let (encoded, _, missing) = GBK.encode(character.encode_utf8(&mut single));
        if missing {
            bytes.push(b'?');
        } else {
            bytes.extend_from_slice(&encoded);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::trade::{State, Wish};
    use super::*;

    fn trade(company: Company, title: &str, day: &Day) -> Trade {
        let refund = |refund_no: &str, amount_fen, outcome| Refund {
            refund_no: refund_no.to_owned(),
            refund_id: "50300".to_owned(),
            amount_fen,
            reason: None,
            notify_url: None,
            requested_ms: day.start_ms + 2_000,
            outcome,
        };
        Trade {
            company,
            trade_no: "2026013122001".to_owned(),
            token: "token".to_owned(),
            wish: Wish {
                out_trade_no: "order_1".to_owned(),
                way: Way::QrCode,
                title: title.to_owned(),
                amount_fen: 10_000,
                notify_url: None,
                return_url: None,
                attach: None,
                openid: None,
                expires_ms: day.end_ms,
            },
            created_ms: day.start_ms,
            state: State::Paid {
                at_ms: day.start_ms + 1_000,
            },
            refunds: vec![
                refund(
                    "back_1",
                    2_500,
                    Outcome::Succeeded {
                        at_ms: day.start_ms + 3_000,
                    },
                ),
                refund("back_2", 2_500, Outcome::Succeeded { at_ms: day.end_ms }),
                refund(
                    "back_3",
                    2_500,
                    Outcome::Processing {
                        until_ms: day.end_ms,
                        abnormal: false,
                    },
                ),
            ],
        }
    }

    fn day() -> Day {
        Day::parse("2026-01-31").unwrap()
    }

    #[test]
    fn wechat_pays_statement_has_a_line_for_each_movement_of_the_day_and_a_summary() {
        let trades = [
            trade(Company::WechatPay, "台灯, \"新\"", &day()),
            trade(Company::Alipay, "x", &day()),
        ];
        let text = wechat_pay(&trades, &day()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[0].starts_with("\u{feff}交易时间,公众账号ID,") && lines[0].ends_with(",费率备注"));
        let fields = |line: &str| {
            line.split(",`")
                .map(|field| field.trim_start_matches('`').to_owned())
                .collect::<Vec<_>>()
        };
        assert!(lines[..1].iter().chain(&lines[3..4]).all(|line| !line.contains('`')));
        let payment = fields(lines[1]);
        assert_eq!(payment.len(), lines[0].split(',').count());
        assert_eq!(
            [
                &payment[0],
                &payment[6],
                &payment[9],
                &payment[12],
                &payment[16],
                &payment[20],
                &payment[22],
                &payment[24]
            ],
            [
                "2026-01-31 00:00:01",
                "order_1",
                "SUCCESS",
                "100.00",
                "0.00",
                "台灯, \"新\"",
                "0.60000",
                "100.00"
            ]
        );
        let refund = fields(lines[2]);
        assert_eq!(
            [
                &refund[0],
                &refund[9],
                &refund[15],
                &refund[16],
                &refund[19],
                &refund[22],
                &refund[25]
            ],
            [
                "2026-01-31 00:00:03",
                "REFUND",
                "back_1",
                "25.00",
                "SUCCESS",
                "-0.15000",
                "25.00"
            ]
        );
        assert_eq!(lines[4], "`2,`100.00,`25.00,`0.00,`0.45000,`100.00,`25.00");
        assert_eq!(wechat_pay(&trades, &Day::parse("2026-01-30").unwrap()), None);
        assert_eq!(sha1_of(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn alipays_statement_is_a_zip_of_two_gbk_files_with_negative_refunds() {
        let trades = [trade(Company::Alipay, "台灯, \"新\" 😀", &day())];
        let bytes = alipay(&trades, &day(), day().end_ms).unwrap().unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(archive.len(), 2);
        let mut read = |index| {
            let mut file = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            let (text, _, wrong) = GBK.decode(&bytes);
            assert!(!wrong);
            (file.name().unwrap().into_owned(), text.into_owned())
        };
        let (name, details) = read(0);
        assert!(name.ends_with("_20260131_业务明细.csv"), "{name}");
        let lines: Vec<&str> = details.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), 3, "{details}");
        assert_eq!(lines[0].split(',').count(), 25);
        assert!(
            lines[1].contains(",交易,\"台灯, \"\"新\"\" ?\",2026-01-31 00:00:00\t,"),
            "{details}"
        );
        assert!(
            lines[1].contains(",100.00,100.00,") && lines[1].contains(",-0.60,"),
            "{details}"
        );
        assert!(
            lines[2].contains(",-25.00,-25.00,") && lines[2].contains(",back_1\t,0.15,"),
            "{details}"
        );
        let (name, summary) = read(1);
        assert!(name.ends_with("业务明细(汇总).csv"), "{name}");
        assert!(
            summary.contains("合计,,1,1,75.00,75.00,0.00,0.00,0.00,-0.45,0.00,74.55"),
            "{summary}"
        );
        assert!(
            alipay(&trades, &Day::parse("2026-01-30").unwrap(), 0)
                .unwrap()
                .is_none()
        );
    }
}
