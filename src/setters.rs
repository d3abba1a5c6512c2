//! Setters of public structs that grow: code outside of the crate cannot write a literal of them, and sets what it
//! names on top of a constructor.

/// `setters! { Mask { with_prefix(prefix: u32); with_window(window?: Window); } }`: one method per field, which takes the
/// struct and gives it back. A field with `?` is an [`Option`], whose value may stand bare.
macro_rules! setters {
    (@one $name:ident $field:ident ?: $ty:ty) => {
        #[doc = concat!("With this [`", stringify!($field), "`](field@Self::", stringify!($field), "); a value or an `Option`.")]
        #[must_use]
        pub fn $name(mut self, $field: impl Into<Option<$ty>>) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (@one $name:ident $field:ident: $ty:ty) => {
        #[doc = concat!("With this [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $name(mut self, $field: $ty) -> Self {
            self.$field = $field;
            self
        }
    };
    (<$lifetime:lifetime> $type:ty { $($name:ident($($field:tt)*);)* }) => {
        impl<$lifetime> $type { $(setters! { @one $name $($field)* })* }
    };
    ($type:ty { $($name:ident($($field:tt)*);)* }) => {
        impl $type { $(setters! { @one $name $($field)* })* }
    };
}
