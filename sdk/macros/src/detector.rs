//! `#[detector]`: a function becomes the component's export `bellwether:plugin/detector`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemFn, Result, Type};

use crate::attributes::{SeriesArguments, no_secret, one_of, plain_function, shape};

const ONE: &str = "a detector is `fn name(state: &mut State, settings: &Settings, point: Point) -> Verdict`";
const ALIGNED: &str = "a detector of aligned series is \
    `fn name(state: &mut State, settings: &Settings, peers: &Peers<'_>) -> Vec<Verdict>`";

pub(crate) fn expand(arguments: &SeriesArguments, function: &ItemFn) -> Result<TokenStream> {
    plain_function(function, "a detector")?;
    let summary = arguments.role.summary_of(function)?;
    let name = &function.sig.ident;
    let expected = if arguments.aligned.is_some() { ALIGNED } else { ONE };
    let ([state, settings, _], _) = shape::<3>(function, expected)?;
    let (state, settings) = (referred(state, expected)?, referred(settings, expected)?);
    let SeriesArguments { least, best, layout, .. } = arguments;
    let layout = layout.as_ref().map_or_else(|| quote!(1), |layout| quote!(#layout));
    let site = Span::mixed_site();
    let call = |verb: &str| {
        let kind = if arguments.aligned.is_some() { "aligned" } else { "one" };
        Ident::new(&format!("{verb}_{kind}"), site)
    };
    let (describe, detect) = (call("describe"), call("detect"));
    // What is wrong with a type is told where it stands.
    let describe = quote_spanned! {state.span()=>
        ::bellwether_sdk::detector::expanded::#describe::<#state, #settings>
    };
    let detect = quote_spanned! {state.span()=>
        ::bellwether_sdk::detector::expanded::#detect::<#state, #settings>
    };
    let one = one_of("detector", function);
    let no_secret = no_secret("detector", settings);
    Ok(quote_spanned! {site=>
        #function
        #one
        #no_secret

        const _: () = {
            use ::bellwether_sdk::bindings::detector::exports::bellwether::plugin::detector as __contract;

            struct __BellwetherDetector;

            impl __contract::Guest for __BellwetherDetector {
                fn describe() -> __contract::Description {
                    #describe(#name, #summary, #least, #best)
                }

                fn detect(
                    settings: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
                    state: ::std::vec::Vec<u8>,
                    points: __contract::Points,
                ) -> ::std::result::Result<__contract::Detection, __contract::DetectorError> {
                    #detect(#name, #layout, settings, &state, &points)
                }
            }

            #[cfg(target_arch = "wasm32")]
            #[allow(unsafe_code, reason = "what a component exports are functions over its raw memory")]
            const _: () = {
                ::bellwether_sdk::bindings::detector::export!(
                    __BellwetherDetector with_types_in ::bellwether_sdk::bindings::detector
                );
            };
        };
    })
}

/// What a parameter that is a reference refers to.
fn referred<'a>(parameter: &'a Type, expected: &str) -> Result<&'a Type> {
    match parameter {
        Type::Reference(reference) => Ok(&reference.elem),
        other => Err(syn::Error::new_spanned(other, expected)),
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_function_of_another_shape_is_told_the_right_one() {
        let function: ItemFn = parse_quote!(
            /** Summary. */
            fn judge(state: &mut State, point: Point) -> Verdict {
                Verdict::unknown()
            }
        );
        for (arguments, expected) in
            [(parse_quote!(least = 1, best = 2), ONE), (parse_quote!(aligned, least = 1, best = 2), ALIGNED)]
        {
            assert_eq!(expand(&arguments, &function).expect_err("no detector").to_string(), expected);
        }
        let owned: ItemFn = parse_quote!(
            /** Summary. */
            fn judge(state: State, settings: &(), point: Point) -> Verdict {
                Verdict::unknown()
            }
        );
        let message =
            expand(&parse_quote!(least = 1, best = 2), &owned).expect_err("no detector").to_string();
        assert_eq!(message, ONE);
    }

    #[test]
    fn how_much_of_a_series_it_wants_to_see_is_to_be_said() {
        for (arguments, expected) in [
            ("", "least = 20, best = 500"),
            ("least = 1", "least = 20, best = 500"),
            ("least = 2, best = 1", "`best` is not below `least`"),
            ("least = 2, best = 200001", "`best` is at most 200000 points"),
            ("leest = 2", "expected least, best, summary"),
        ] {
            let message = syn::parse_str::<SeriesArguments>(arguments).err().expect(arguments).to_string();
            assert!(message.contains(expected), "{arguments}: {message}");
        }
    }
}
