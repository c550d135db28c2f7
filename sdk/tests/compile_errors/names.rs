//! Types and a module of an author's that are named as a role is, or as the contract: they compile.
mod first {
    use bellwether_sdk::host::Log;
    use bellwether_sdk::{AppError, app};

    mod contract {
        #[derive(bellwether_sdk::Inputs)]
        pub(super) struct App {
            pub(super) page: String,
        }
    }

    /// Greets.
    #[app]
    fn greet(host: &impl Log, inputs: contract::App) -> Result<(), AppError> {
        host.info(&inputs.page);
        Ok(())
    }
}

mod second {
    use bellwether_sdk::detector::{Point, Verdict, detector};

    #[derive(Default, serde::Serialize, serde::Deserialize)]
    struct Detector;

    /// Judges.
    #[detector(least = 1, best = 2)]
    fn judge(_: &mut Detector, _: &(), _: Point) -> Verdict {
        Verdict::unknown()
    }
}

mod third {
    use bellwether_sdk::Settings;
    use bellwether_sdk::forecaster::{Forecast, ForecastError, Past, forecaster};

    #[derive(Settings)]
    struct Forecaster {
        #[setting(default = 1)]
        least: u32,
    }

    /// Predicts.
    #[forecaster(least = 1, best = 2)]
    fn predict(settings: &Forecaster, _: &Past) -> Result<Forecast, ForecastError> {
        Err(ForecastError::TooShort(settings.least))
    }
}

mod fourth {
    use bellwether_sdk::Settings;
    use bellwether_sdk::formatter::{Exchange, FormatterError, Step, formatter};

    #[derive(Settings)]
    struct Formatter {
        room: String,
    }

    /// Tells.
    #[formatter]
    fn tell(_: &Exchange, settings: Formatter) -> Result<Step, FormatterError> {
        Ok(Step::fail(settings.room))
    }
}

fn main() {}
