//! What of an item may be shown to a person who looks at a rehearsal: ids, states, times and amounts; no texts.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
pub(crate) use cloud::rehearsal::Facts;

use crate::{Item, Update};

/// Longest value that is shown: ids and words are shorter.
const LONGEST: usize = 64;

/// Ids and states by their names; of other names nobody knows what they hold.
fn may_be_shown(name: &str) -> bool {
    const WORDS: [&str; 8] = [
        "amount",
        "entry",
        "era",
        "kind",
        "refund_status",
        "state",
        "status",
        "version",
    ];
    name.ends_with("_uuid") || WORDS.contains(&name)
}

/// The facts of an item.
pub(crate) fn of_item(item: &Item) -> Facts {
    let shown = |(name, value): (&String, &AttributeValue)| {
        let text = match value {
            AttributeValue::S(text) | AttributeValue::N(text) if may_be_shown(name) => text,
            _ => return None,
        };
        (text.len() <= LONGEST).then(|| (name.clone(), text.clone()))
    };
    item.iter().filter_map(shown).collect()
}

/// Those by which an item is known to be the same after a change.
pub(crate) fn of_identity(facts: &Facts) -> Facts {
    let stays = |(name, _): &(&String, &String)| name.ends_with("_uuid");
    let same = facts.iter().filter(stays);
    same.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The key of an update and the attributes that it names, without what it writes there.
pub(crate) fn of_update(update: &Update) -> Facts {
    let mut facts = of_item(&update.key.item());
    facts.insert("changes".to_owned(), update.expression.chars().take(200).collect());
    facts
}

/// The facts of the items that a transaction puts.
pub(crate) fn of_actions(actions: &[TransactWriteItem]) -> Facts {
    let items = actions
        .iter()
        .filter_map(|action| match (action.put(), action.update()) {
            (Some(put), _) => Some(&put.item),
            (None, Some(update)) => Some(&update.key),
            (None, None) => None,
        });
    items.flat_map(of_item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_states_are_facts_and_what_people_wrote_is_not() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let item = Item::from([
            ("order_uuid".to_owned(), text("7")),
            ("status".to_owned(), text("paid")),
            ("version".to_owned(), AttributeValue::N("3".to_owned())),
            ("shipping_name".to_owned(), text("sealed")),
            ("title".to_owned(), text("台灯")),
        ]);
        let facts = of_item(&item);
        assert_eq!(facts.keys().collect::<Vec<_>>(), ["order_uuid", "status", "version"]);
        assert_eq!(of_identity(&facts).keys().collect::<Vec<_>>(), ["order_uuid"]);
    }
}
