//! What people ask of an order that is there: to be paid again, called off, given its money back, labelled anew; its
//! customer, to be written to.
//!
//! No kinds: whoever asks learns at once whether it will be done, so each is one transaction that decides, writes and
//! inserts the job that follows. Asked twice it is done once. None calls a provider: that is the job's.

pub mod cancel;
pub mod confirm_refund;
pub mod correct_stock;
pub mod give_back;
pub mod pay_again;
pub mod record_payment;
pub mod refresh;
pub mod relabel;
pub mod set_status;
pub mod write_mail;
