//! What a plugin author depends on.
#[allow(missing_docs)]
pub mod bindings { wit_bindgen::generate!({ path: "../wit", world: "imports" }); }
#[allow(missing_docs)]
pub mod d { wit_bindgen::generate!({ path: "../wit", world: "everything" }); }
