//! SQL that several fillers of databases share.

/// Makes `public_id(prefix, id)`: an id as jobs carry it in their payloads (`ord_01J…`). The product never needs it in SQL
/// but for its audit, which compares both.
pub(crate) const PUBLIC_ID: &str = "
    create or replace function public_id(prefix text, id uuid) returns text immutable parallel safe language sql as $$
      select prefix || '_' || string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ',
               substring(B'00' || ('x' || replace(id::text, '-', ''))::bit(128) from 5 * i + 1 for 5)::bit(5)::integer + 1, 1),
               '' order by i)
        from generate_series(0, 25) as i $$;";
