//! The report of a day as a table for spreadsheet programs: CSV in UTF-8 with a byte order mark, without which they take
//! Chinese for something else.

use contracts::payments::PaymentMethod;
use csv::{Terminator, Writer, WriterBuilder};
use kernel::{Money, Timestamp, Zone};

use crate::reconciliation::{Difference, Kind, Report, Sum};

const BYTE_ORDER_MARK: &str = "\u{feff}";
/// More digits than spreadsheet programs keep of a number.
const MOST_DIGITS: usize = 15;

/// The table, with the sums first.
///
/// # Errors
/// A row can not be written, which does not happen in memory.
pub fn table(report: &Report, method: PaymentMethod, zone: Zone) -> Result<Vec<u8>, csv::Error> {
    let mut table = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .flexible(true)
        .from_writer(BYTE_ORDER_MARK.as_bytes().to_vec());
    write(&mut table, ["对账日期", &report.day.to_string()])?;
    write(&mut table, ["支付方式", name(method)])?;
    write(&mut table, ["差异数", &report.differences.len().to_string()])?;
    write(
        &mut table,
        ["汇总", "本系统笔数", "本系统金额（元）", "渠道笔数", "渠道金额（元）"],
    )?;
    let sums = [
        ("付款", report.ours.payments, report.theirs.payments),
        ("退款", report.ours.refunds, report.theirs.refunds),
    ];
    for (label, ours, theirs) in sums {
        let [ours, theirs] = [ours, theirs].map(|Sum { count, fen }| (count.to_string(), yuan(fen)));
        write(&mut table, [label, &ours.0, &ours.1, &theirs.0, &theirs.1])?;
    }
    write(
        &mut table,
        [
            "差异类型",
            "说明",
            "商户订单号",
            "商户退款单号",
            "渠道交易号",
            "支付ID",
            "退款ID",
            "订单ID",
            "本系统状态",
            "本系统金额（元）",
            "应付金额（元）",
            "本系统时间",
            "渠道金额（元）",
            "渠道时间",
        ],
    )?;
    for difference in report.listed() {
        write(&mut table, row(difference, zone).each_ref().map(String::as_str))?;
    }
    table.into_inner().map_err(|error| error.into_error().into())
}

fn row(difference: &Difference, zone: Zone) -> [String; 14] {
    let (ours, line) = (difference.ours(), &difference.line);
    let time = |at: Timestamp| {
        let shown: String = zone.show(at).chars().take("2026-01-31T20:00:00".len()).collect();
        shown.replace('T', " ")
    };
    let text = |shown: Option<String>| shown.unwrap_or_default();
    let money = |amount: Option<Money>| text(amount.map(|amount| amount.to_string()));
    [
        difference.kind.word().to_owned(),
        explanation(difference.kind).to_owned(),
        difference.out_trade_no(),
        text(difference.refund_no()),
        difference.trade_no().unwrap_or_default().to_owned(),
        text(difference.payment_id().map(|id| id.to_string())),
        text(difference.refund.as_ref().map(|refund| refund.id.to_string())),
        text(difference.payment.as_ref().map(|payment| payment.order.to_string())),
        ours.map(|ours| ours.status).unwrap_or_default().to_owned(),
        money(ours.and_then(|ours| ours.amount)),
        money(ours.and_then(|ours| ours.asked)),
        text(ours.and_then(|ours| ours.at).map(time)),
        money(line.as_ref().map(|line| line.amount)),
        text(line.as_ref().map(|line| time(line.at))),
    ]
}

fn write<const N: usize>(table: &mut Writer<Vec<u8>>, cells: [&str; N]) -> Result<(), csv::Error> {
    table.write_record(cells.map(harmless))
}

/// A cell that a spreadsheet program shows and does not calculate. What comes from a statement is written by whoever made
/// the trade.
fn harmless(cell: &str) -> String {
    let is_like_a_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E');
    match cell.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => format!("'{cell}"),
        // A tab behind it makes it text, as in the providers' own statements.
        Some(_) if cell.len() > MOST_DIGITS && cell.chars().all(is_like_a_number) => format!("{cell}\t"),
        _ => cell.to_owned(),
    }
}

fn name(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::Alipay => "支付宝",
        PaymentMethod::WechatPay => "微信支付",
    }
}

fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

fn explanation(kind: Kind) -> &'static str {
    match kind {
        Kind::MissingHere => "渠道已收款，本系统无收款",
        Kind::MissingAtProvider => "本系统已收款，渠道账单中没有",
        Kind::AmountDiffers => "收款金额不一致",
        Kind::PaidOnAnotherDay => "收款日期不一致",
        Kind::HeldForAPerson => "款项与应付不符，待人工处理",
        Kind::RefundMissingHere => "渠道已退款，本系统无此退款",
        Kind::RefundMissingAtProvider => "本系统已退款，渠道账单中没有",
        Kind::RefundAmountDiffers => "退款金额不一致",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reconciliation::Books;
    use crate::statement::{Movement, StatementLine};

    fn line(number: &str) -> StatementLine {
        StatementLine {
            out_trade_no: number.into(),
            trade_no: "4200001234567890123456789012".into(),
            movement: Movement::Payment,
            amount: Money::from_fen(1990).unwrap(),
            at: Timestamp::from_millis(1_769_860_800_000),
        }
    }

    fn table_of(number: &str) -> String {
        let day = "2026-01-31".parse().unwrap();
        let report = Report::of(day, &Books::default(), &[line(number)], &[]);
        String::from_utf8(table(&report, PaymentMethod::Alipay, "+08:00".parse().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn the_sums_come_first_and_then_a_row_for_each_difference() {
        let table = table_of("order, \"1\"");
        let lines: Vec<&str> = table.split("\r\n").collect();
        assert_eq!(lines[0], "\u{feff}对账日期,2026-01-31");
        assert_eq!(lines[2], "差异数,1");
        assert_eq!(lines[4..6], ["付款,0,0.00,1,19.90", "退款,0,0.00,0,0.00"]);
        assert_eq!(
            lines[7],
            "missing-here,渠道已收款，本系统无收款,\"order, \"\"1\"\"\",,4200001234567890123456789012\t,,,,,,,,19.90,\
             2026-01-31 20:00:00"
        );
        assert_eq!(lines[8..], [""]);
    }

    #[test]
    fn what_a_stranger_wrote_is_not_calculated() {
        for number in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            assert!(table_of(number).contains(&format!("'{number}")), "{number}");
        }
        assert_eq!(
            harmless("12345e67890123456789012345678901"),
            "12345e67890123456789012345678901\t"
        );
        assert_eq!(harmless("19.90"), "19.90");
    }

    proptest! {
        #[test]
        fn every_cell_comes_back_as_one_cell(number in ".{0,30}") {
            let table = table_of(&number);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(table.as_bytes());
            let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!((rows.len(), rows[7].len()), (8, 14));
            prop_assert_eq!(&rows[7][2], harmless(&number));
            prop_assert!(!rows[7][2].starts_with(['=', '+', '-', '@', '\t', '\r']));
        }
    }
}
