//! Parameters in another order, or of another kind.
mod two_structs {
    use bellwether_sdk::host::Log;
    use bellwether_sdk::{AppError, Inputs, app};

    #[derive(Inputs)]
    struct Page {
        page: String,
    }

    #[derive(Inputs)]
    struct Times {
        times: u32,
    }

    /// Counts.
    #[app]
    fn count(_: &impl Log, _: Page, _: Times) -> Result<(), AppError> { //~ an app takes one struct, with a field for each input
        Ok(())
    }
}

mod other_order {
    use bellwether_sdk::host::Log;
    use bellwether_sdk::{AppError, app};

    /// Counts.
    #[app]
    fn count(_: (), _: &impl Log) -> Result<(), AppError> { //~ the host comes first, and is lent: `host: &impl …`
        Ok(())
    }
}

mod owned_host {
    use bellwether_sdk::host::Log;
    use bellwether_sdk::{AppError, app};

    /// Counts.
    #[app]
    fn count(_: impl Log, _: ()) -> Result<(), AppError> { //~ the host comes first, and is lent: `host: &impl …`
        Ok(())
    }
}

mod lent_inputs {
    use bellwether_sdk::host::Log;
    use bellwether_sdk::{AppError, Inputs, app};

    #[derive(Inputs)]
    struct Page {
        page: String,
    }

    /// Counts.
    #[app]
    fn count(_: &impl Log, _: &Page) -> Result<(), AppError> { //~ the inputs come last, and are given, without the `&`
        Ok(())
    }

    pub fn called(host: &impl Log) -> Result<(), AppError> {
        count(host, &Page { page: String::new() })
    }
}

fn main() {}
