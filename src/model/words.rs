//! Pure. Enums whose values each have one word, made from one list.

/// Makes an enum, the array `ALL` of its values in their order, and the function that gives each value's word. All
/// three come from one list, so a value that is added is counted, labelled and shown, or does not compile.
macro_rules! words {
    (
        $(#[$doc:meta])*
        $vis:vis enum $name:ident, $(#[$word_doc:meta])* fn $word:ident {
            $($(#[$value_doc:meta])* $value:ident = $text:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        $vis enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// All of them, in order: the value `v` is `ALL[v as usize]`.
            #[allow(dead_code, reason = "of some enums only tests walk all values")]
            $vis const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            $(#[$word_doc])*
            $vis fn $word(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    words! {
        /// Two of them.
        enum Two,
        /// Their word.
        fn word {
            /// This.
            One = "one",
            /// And that.
            Other = "other",
        }
    }

    #[test]
    fn all_are_in_the_order_of_the_list() {
        assert_eq!(Two::ALL, [Two::One, Two::Other]);
        assert!(Two::ALL.iter().enumerate().all(|(at, value)| *value as usize == at));
        assert_eq!(Two::ALL.map(Two::word), ["one", "other"]);
    }
}
