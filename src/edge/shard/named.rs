//! Which connections have a handler: a byte a slot beside the slab, and none where no slot of a page has
//! one.
//!
//! The byte is the place of a name in a short table; a name that no connection has any more gives its
//! place to another.

use crate::wire::Handler;

/// Slots of a page.
const PAGE: usize = 1024;

/// Names that the connections of a shard may have at the same time.
pub(in crate::edge) const NAMES_MAX: usize = u8::MAX as usize;

/// The handlers of a shard's connections.
#[derive(Debug, Default)]
pub(super) struct Named {
    pages: Vec<Page>,
    names: Vec<Name>,
}

/// By slot, the place of a name plus one; no bytes while no slot has one.
#[derive(Debug, Default)]
struct Page {
    places: Box<[u8]>,
    used: usize,
}

#[derive(Debug)]
struct Name {
    handler: Handler,
    used: usize,
}

/// There are as many names as may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NamesLimit;

impl Named {
    /// The connection in this slot has this handler. The slot had none.
    pub(super) fn put(&mut self, slot: u32, handler: &Handler) -> Result<(), NamesLimit> {
        let nth = self.place_of(handler).ok_or(NamesLimit)?;
        self.names[usize::from(nth)].used += 1;
        let (page, place) = page_of(slot);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Page::default);
        }
        let page = &mut self.pages[page];
        if page.used == 0 {
            page.places = vec![0; PAGE].into();
        }
        page.used += 1;
        page.places[place] = nth + 1;
        Ok(())
    }

    /// The handler of the connection in this slot.
    pub(super) fn get(&self, slot: u32) -> Option<&Handler> {
        let (page, place) = page_of(slot);
        let nth = self.pages.get(page)?.places.get(place)?.checked_sub(1)?;
        Some(&self.names.get(usize::from(nth))?.handler)
    }

    /// The connection in this slot is gone.
    pub(super) fn remove(&mut self, slot: u32) {
        let (page, place) = page_of(slot);
        let Some(page) = self.pages.get_mut(page) else {
            return;
        };
        let Some(nth) = page.places.get(place).and_then(|nth| nth.checked_sub(1)) else {
            return;
        };
        self.names[usize::from(nth)].used -= 1;
        page.places[place] = 0;
        page.used -= 1;
        if page.used == 0 {
            *page = Page::default();
        }
    }

    fn place_of(&mut self, handler: &Handler) -> Option<u8> {
        let known = self.names.iter().position(|name| name.handler == *handler);
        let place = known.or_else(|| {
            let free = self.names.iter().position(|name| name.used == 0);
            let new = || Name {
                handler: handler.clone(),
                used: 0,
            };
            match free {
                Some(free) => self.names[free] = new(),
                None if self.names.len() < NAMES_MAX => self.names.push(new()),
                None => return None,
            }
            free.or(Some(self.names.len() - 1))
        })?;
        u8::try_from(place).ok()
    }
}

fn page_of(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    (slot / PAGE, slot % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(number: usize) -> Handler {
        format!("h{number}").parse().unwrap()
    }

    #[test]
    fn names_come_and_go_and_leave_nothing() {
        let mut named = Named::default();
        assert_eq!(named.get(7), None);
        named.put(7, &handler(1)).unwrap();
        named.put(5000, &handler(2)).unwrap();
        assert_eq!(named.get(7), Some(&handler(1)));
        assert_eq!(named.get(5000), Some(&handler(2)));
        assert_eq!((named.get(6), named.get(1_000_000)), (None, None));
        for slot in [7, 7, 6, 1_000_000] {
            named.remove(slot);
        }
        assert!(named.pages[0].places.is_empty());
        named.put(7, &handler(3)).unwrap();
        assert_eq!(named.names.len(), 2, "a place serves again");
        assert_eq!(named.get(5000), Some(&handler(2)));
    }

    #[test]
    fn names_are_limited() {
        let mut named = Named::default();
        for number in 0..NAMES_MAX {
            let slot = u32::try_from(number).unwrap();
            named.put(slot, &handler(number)).unwrap();
        }
        assert_eq!(named.put(999, &handler(999)), Err(NamesLimit));
        assert_eq!(named.put(999, &handler(7)), Ok(()));
        named.remove(9);
        assert_eq!(named.put(998, &handler(999)), Ok(()));
        assert_eq!(named.get(998), Some(&handler(999)));
        assert_eq!(named.get(254), Some(&handler(254)));
    }
}
