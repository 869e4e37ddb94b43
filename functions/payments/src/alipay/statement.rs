//! The statement of a day: a ZIP of two files in GBK, of which the one with the details is read.
//!
//! Lines that begin with `#` are for people; two of them say how many payments and refunds there are. Numbers and times
//! are padded with a tab, refunds are negative.
//!
//! Source: <https://opendocs.alipay.com/open/028woc>.

use std::io::{Cursor, Read as _};

use encoding_rs::GBK;
use kernel::Timestamp;
use serde::Serialize;
use zip::ZipArchive;

use super::amount;
use super::answer::Address;
use crate::provider::Silence;
use crate::statement::{Columns, Day, Movement, Stated, StatementLine, misread, moment};

/// Largest file that is unpacked, in bytes: some 200,000 lines.
const LARGEST: u64 = 50 * 1024 * 1024;
/// What the name of the file with the details ends with.
const DETAILS: &str = "业务明细.csv";

/// Which statement is wanted.
#[derive(Serialize)]
pub(super) struct Wanted {
    bill_type: &'static str,
    bill_date: String,
}

impl Wanted {
    pub(super) fn of(day: Day) -> Self {
        Self {
            bill_type: "trade",
            bill_date: day.to_string(),
        }
    }
}

/// The address of the statement, or why there is none. Alipay has one word for a statement that is not written yet and
/// for a day without movements: the hour tells them apart.
pub(super) fn place(address: Result<Address, Silence>, day: Day, now: Timestamp) -> Result<String, Stated> {
    match address.map_err(Stated::Unknown)? {
        Address::At(url) => Ok(url),
        Address::Refused(code) => Err(
            match code
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
                .as_str()
            {
                "bill_not_exist" => day.without_movements(now),
                "invalid-arguments" | "invalid_arguments" => Stated::Absent(code),
                _ => Stated::Unknown(Silence(code)),
            },
        ),
    }
}

/// What the archive states.
pub(super) fn read(archive: &[u8]) -> Result<Vec<StatementLine>, Silence> {
    let details = details(archive)?;
    let (text, _) = GBK.decode_without_bom_handling(&details);
    // Whether titles are quoted is not documented: what adds up is right.
    lines(&text, true).or_else(|wrong| lines(&text, false).map_err(|_| wrong))
}

fn details(archive: &[u8]) -> Result<Vec<u8>, Silence> {
    let broken = |_| misread("it is no ZIP archive");
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(broken)?;
    for at in 0..archive.len() {
        let file = archive.by_index(at).map_err(broken)?;
        let name = file.name_raw();
        let is_wanted = match std::str::from_utf8(name) {
            Ok(name) => name.ends_with(DETAILS),
            Err(_) => GBK.decode_without_bom_handling(name).0.ends_with(DETAILS),
        };
        if !is_wanted {
            continue;
        }
        // What the archive says of its size need not be true.
        let mut content = Vec::new();
        let unpacked = file.take(LARGEST + 1).read_to_end(&mut content);
        unpacked.map_err(|_| misread("it can not be unpacked"))?;
        return match u64::try_from(content.len()).is_ok_and(|size| size <= LARGEST) {
            true => Ok(content),
            false => Err(misread("it is larger than 50 MB")),
        };
    }
    Err(misread("it holds no details"))
}

fn lines(text: &str, is_quoted: bool) -> Result<Vec<StatementLine>, Silence> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .quoting(is_quoted)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let mut records = reader
        .records()
        .map(|record| record.map_err(|_| misread("it is no CSV")));
    let header = records.next().unwrap_or_else(|| Err(misread("it is empty")))?;
    let columns = Columns::new(header.iter(), "商品名称")?;
    let [trade_no, out_trade_no, kind, at, total, refund_no] = [
        "支付宝交易号",
        "商户订单号",
        "业务类型",
        "完成时间",
        "订单金额（元）",
        "退款批次号/请求号",
    ]
    .map(|name| columns.find(name));
    let (trade_no, out_trade_no, kind, at, total, refund_no) =
        (trade_no?, out_trade_no?, kind?, at?, total?, refund_no?);

    let mut lines = Vec::new();
    for record in records {
        let record = record?;
        let fields: Vec<&str> = record.iter().collect();
        if fields.len() < columns.count() {
            return Err(misread("a line is too short"));
        }
        let total = total.of(&fields)?;
        let (movement, total) = match kind.of(&fields)? {
            "交易" => (Movement::Payment, Some(total)),
            "退款" => {
                let number = refund_no.of(&fields)?.to_owned();
                (Movement::Refund { number, is_done: true }, total.strip_prefix('-'))
            }
            _ => return Err(misread("a line is of no known kind")),
        };
        let total = total.and_then(|total| amount(total).ok());
        lines.push(StatementLine {
            out_trade_no: out_trade_no.of(&fields)?.to_owned(),
            trade_no: trade_no.of(&fields)?.to_owned(),
            movement,
            amount: total.ok_or_else(|| misread("a line has no amount"))?,
            at: moment(at.of(&fields)?).ok_or_else(|| misread("a line has no time"))?,
        });
    }
    let payments = lines.iter().filter(|line| line.movement == Movement::Payment).count();
    let adds_up =
        counted(text, "#交易合计：") == Some(payments) && counted(text, "#退款合计：") == Some(lines.len() - payments);
    match adds_up {
        true => Ok(lines),
        false => Err(misread("it does not have as many lines as it says")),
    }
}

/// The number behind `label`, in the last line that begins with it: what stands before is less certain to be Alipay's.
fn counted(text: &str, label: &str) -> Option<usize> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix(label))?;
    line.split('笔').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    const HEAD: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,\
        订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,\
        商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";

    fn row(kind: &str, title: &str, total: &str, refund_no: &str) -> String {
        format!(
            "2026013122\t,n1\t,{kind},{title},2026-01-31 12:00:00\t,2026-01-31 12:00:01\t,,,,,*买家(159****5620),{total},{total},\
             0.00,0.00,0.00,0.00,0.00,,0.00,0.00,{refund_no}\t,-0.06,0.00,"
        )
    }

    fn text(rows: &[String], payments: usize, refunds: usize) -> String {
        let rows: String = rows.iter().map(|row| format!("{row}\r\n")).collect();
        format!(
            "#支付宝业务明细查询\r\n#账号：[20881]\r\n{HEAD}\r\n{rows}#------业务明细列表结束------\r\n\
             #交易合计：{payments}笔，商家实收共0.00元\r\n#退款合计：{refunds}笔，商家实收退款共0.00元\r\n#导出时间：[x]\r\n"
        )
    }

    fn zipped(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            let options = SimpleFileOptions::default().compression_method(method);
            archive.start_file(*name, options).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn gbk(text: &str) -> Vec<u8> {
        GBK.encode(text).0.into_owned()
    }

    #[test]
    fn payments_and_refunds_are_read_from_an_archive() {
        let rows = [row("交易", "台灯", "19.90", ""), row("退款", "台灯", "-5.00", "r1")];
        let (details, summary) = (gbk(&text(&rows, 1, 1)), gbk("#x\r\n"));
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let files: [(&str, &[u8]); 2] = [("1_业务明细(汇总).csv", &summary), ("1_业务明细.csv", &details)];
            let read = read(&zipped(&files, method)).unwrap();
            let refund = Movement::Refund {
                number: "r1".into(),
                is_done: true,
            };
            let seen: Vec<_> = read
                .iter()
                .map(|line| (line.movement.clone(), line.amount.fen()))
                .collect();
            assert_eq!(seen, [(Movement::Payment, 1990), (refund, 500)]);
            assert_eq!(
                (read[1].out_trade_no.as_str(), read[1].trade_no.as_str()),
                ("n1", "2026013122")
            );
            assert_eq!(read[1].at, moment("2026-01-31 12:00:01").unwrap());
        }
    }

    /// Real archives name their files in GBK and do not say so.
    #[test]
    fn the_name_of_the_file_may_be_in_gbk() {
        let details = gbk(&text(&[], 0, 0));
        let (utf8, name) = ("20_业务明细.csv", gbk("20_业务明细.csv"));
        // As many bytes as the other name has.
        let padded = [vec![b'_'; utf8.len() - name.len()], name].concat();
        let mut archive = zipped(&[(utf8, &details)], CompressionMethod::Stored);
        let places: Vec<usize> = (0..archive.len() - utf8.len())
            .filter(|at| archive[*at..].starts_with(utf8.as_bytes()))
            .collect();
        assert_eq!(places.len(), 2);
        for at in places {
            archive[at..at + padded.len()].copy_from_slice(&padded);
        }
        assert_eq!(read(&archive), Ok(vec![]));
    }

    #[test]
    fn a_title_moves_nothing() {
        let titles = [
            "\"a, \"\"b\"\", c\"",
            "a,b,c",
            "\"",
            "\"a",
            "a\"b\"",
            ",,,",
            "#",
            "#交易合计：9笔",
            "=1+1",
            "\\",
        ];
        for title in titles {
            let rows = [row("交易", title, "19.90", ""), row("退款", title, "-5.00", "r1")];
            let details = gbk(&text(&rows, 1, 1));
            let read = read(&zipped(&[("业务明细.csv", &details)], CompressionMethod::Deflated));
            let fen = read.map(|lines| lines.iter().map(|line| line.amount.fen()).collect::<Vec<_>>());
            assert_eq!(fen, Ok(vec![1990, 500]), "{title}");
        }
    }

    #[test]
    fn a_statement_that_is_cut_or_strange_is_not_believed() {
        let good = row("交易", "x", "19.90", "");
        let whole = text(std::slice::from_ref(&good), 1, 0);
        for wrong in [
            String::new(),
            "x".to_owned(),
            text(std::slice::from_ref(&good), 2, 0),
            text(std::slice::from_ref(&good), 1, 1),
            whole[..whole.find("#交易合计").unwrap()].to_owned(),
            text(&[good.replace("19.90", "x")], 1, 0),
            text(&[good.replace("19.90", "-19.90")], 1, 0),
            text(&[row("退款", "x", "5.00", "r1")], 0, 1),
            text(&[good.replace("交易", "转账")], 1, 0),
            text(&[good.replace(" 12:00:01", "")], 1, 0),
            text(&["a,b".to_owned()], 1, 0),
            whole.replace("业务类型", "类型"),
        ] {
            let archive = zipped(&[("业务明细.csv", &gbk(&wrong))], CompressionMethod::Stored);
            assert!(read(&archive).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let zeros = vec![b'0'; usize::try_from(LARGEST).unwrap() + 1];
        let bomb = zipped(&[("业务明细.csv", &zeros)], CompressionMethod::Deflated);
        assert!(bomb.len() < 1024 * 1024);
        assert!(read(&bomb).unwrap_err().to_string().contains("50 MB"));
        assert!(read(&zipped(&[("x.csv", b"")], CompressionMethod::Stored)).is_err());
        assert!(read(b"PK").is_err());
    }

    #[test]
    fn the_hour_tells_an_empty_day_from_a_statement_that_is_not_written() {
        let day: Day = "2026-01-31".parse().unwrap();
        let ready = day.is_stated_from();
        let refused = |code: &str, now| place(Ok(Address::Refused(code.into())), day, now).unwrap_err();
        assert_eq!(refused("isp.bill_not_exist", ready), Stated::Lines(vec![]));
        assert_eq!(refused("isp.bill_not_exist", day.end()), Stated::NotReady);
        assert!(matches!(refused("isv.invalid-arguments", ready), Stated::Absent(_)));
        assert!(matches!(refused("isp.unknow-error", ready), Stated::Unknown(_)));
        assert_eq!(
            place(Ok(Address::At("https://a".into())), day, ready),
            Ok("https://a".into())
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
            let _ = read(&zipped(&[("业务明细.csv", &bytes)], CompressionMethod::Stored));
        }

        #[test]
        fn a_damaged_archive_is_read_or_refused(at in 0..2_000_usize, byte in any::<u8>(), title in ".{0,20}") {
            let details = gbk(&text(&[row("交易", &title, "19.90", "")], 1, 0));
            let mut bytes = zipped(&[("业务明细.csv", &details)], CompressionMethod::Deflated);
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
