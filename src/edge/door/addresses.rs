//! Counts connections by client address against the limit for each.
//!
//! An IPv6 client has a network of its own, so it is counted by the first 64 bits. What is counted
//! begins with the accept, or when a proxy has said whose connection it is, and ends with the
//! connection. The table has no more rows than there are connections and heads; a row has a
//! number, which is all that a held connection keeps of it. Without a limit there is no table.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::edge::Hasher;

/// How many connections each address has. Cloning shares the table.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Addresses(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    per_address_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Clients choose addresses, of IPv6 many: the hash is seeded.
    places: HashMap<u128, u32, Hasher>,
    rows: Vec<Row>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Row {
    key: u128,
    /// 0 in a free row.
    count: usize,
}

/// One connection of an address. Dropping it gives the place back.
#[derive(Debug)]
pub(in crate::edge) struct Guest {
    /// `None` when somebody else gives the place back.
    shared: Option<Arc<Shared>>,
    row: u32,
}

/// The address has as many connections as it may.
#[derive(Debug)]
pub(in crate::edge) struct Full;

impl Addresses {
    /// With 0 nothing is counted.
    pub(in crate::edge) fn new(per_address_max: usize) -> Addresses {
        let shared = || Shared {
            per_address_max,
            table: Mutex::default(),
        };
        Addresses((per_address_max > 0).then(|| Arc::new(shared())))
    }

    /// One more connection of this address; `None` when nothing is counted.
    pub(in crate::edge) fn enter(&self, address: IpAddr) -> Result<Option<Guest>, Full> {
        let Some(shared) = &self.0 else {
            return Ok(None);
        };
        let key = key(address);
        let mut guard = shared.lock();
        let table = &mut *guard;
        let row = match table.places.get(&key) {
            Some(&row) => row,
            None => {
                let row = table.free.pop().unwrap_or_else(|| {
                    table.rows.push(Row { key, count: 0 });
                    u32::try_from(table.rows.len() - 1).expect("descriptors are fewer")
                });
                table.rows[row as usize] = Row { key, count: 0 };
                table.places.insert(key, row);
                row
            }
        };
        let count = &mut table.rows[row as usize].count;
        if *count >= shared.per_address_max {
            return Err(Full);
        }
        *count += 1;
        drop(guard);
        Ok(Some(Guest {
            shared: Some(Arc::clone(shared)),
            row,
        }))
    }

    /// Gives back the place of a guest that was [kept](Guest::keep).
    pub(in crate::edge) fn leave(&self, row: u32) {
        if let Some(shared) = &self.0 {
            shared.leave(row);
        }
    }
}

impl Shared {
    fn leave(&self, row: u32) {
        let mut table = self.lock();
        let left = &mut table.rows[row as usize];
        left.count -= 1;
        if left.count > 0 {
            return;
        }
        let key = left.key;
        table.places.remove(&key);
        table.free.push(row);
        if table.places.is_empty() {
            // After a storm: its rows are nobody's any more.
            *table = Table::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under the lock.
        self.table.lock().expect("the lock is never poisoned")
    }
}

impl Guest {
    /// The connection is held now: [`Addresses::leave`] gives its place back, by this number.
    pub(in crate::edge) fn keep(mut self) -> u32 {
        self.shared.take();
        self.row
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.leave(self.row);
        }
    }
}

fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(addresses: &Addresses, address: &str) -> Option<Guest> {
        let address = address.parse().unwrap();
        addresses.enter(address).ok().map(Option::unwrap)
    }

    #[test]
    fn each_address_has_its_own_limit_and_gets_places_back() {
        let addresses = Addresses::new(2);
        let first = enter(&addresses, "192.0.2.1").unwrap();
        let kept = enter(&addresses, "::ffff:192.0.2.1").unwrap().keep();
        assert!(enter(&addresses, "192.0.2.1").is_none());
        assert!(enter(&addresses, "192.0.2.2").is_some());
        drop(first);
        let third = enter(&addresses, "192.0.2.1").unwrap();
        assert!(enter(&addresses, "192.0.2.1").is_none());
        addresses.leave(kept);
        drop(third);
        let table = addresses.0.as_ref().unwrap().lock();
        assert!(
            table.places.is_empty() && table.rows.is_empty(),
            "nothing stays"
        );
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let addresses = Addresses::new(1);
        let _first = enter(&addresses, "2001:db8:1:2::1").unwrap();
        assert!(enter(&addresses, "2001:db8:1:2:ffff::2").is_none());
        assert!(enter(&addresses, "2001:db8:1:3::1").is_some());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let addresses = Addresses::new(0);
        assert!(addresses.0.is_none());
        assert!(
            addresses
                .enter("192.0.2.1".parse().unwrap())
                .unwrap()
                .is_none()
        );
    }
}
