//! What the command line may ask for.

use std::{ffi::OsStr, path::Path};

use clap::Parser as _;

use super::*;

#[test]
fn a_command_may_have_a_name_and_variables_of_its_own() {
    let cases = [
        ("kwok=./kwok --config a=b", "kwok", "./kwok --config a=b"),
        ("./kwok --config=stages.yaml", "./kwok --config=stages.yaml", "./kwok --config=stages.yaml"),
        ("STAGES=a.yaml ./run", "STAGES=a.yaml ./run", "STAGES=a.yaml ./run"),
    ];
    for (against, name, command) in cases {
        let contestant = Entrant::parse(against).unwrap().contestant();
        assert_eq!((contestant.name.as_str(), contestant.command.as_deref()), (name, Some(command)));
    }
    for nothing in ["", " ", "kwok="] {
        assert!(Entrant::parse(nothing).is_err(), "{nothing:?}");
    }
}

#[test]
fn nobody_has_the_name_of_somebody_else() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(twice(&names(&["raw limit", "mock", "a"])), None);
    assert_eq!(twice(&names(&["raw limit", "mock", "a", "mock"])).map(String::as_str), Some("mock"));
}

#[test]
fn what_cannot_be_written_is_said_beforehand_and_nothing_is_left_behind() {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }
    let folder = tempfile::tempdir().unwrap();
    let (json, svg) = (folder.path().join("old.json"), folder.path().join("new/new.svg"));
    fs::write(&json, "{}").unwrap();
    let open = |json: &Path, svg: &Path| {
        let args = [OsStr::new("bench"), "--json".as_ref(), json.as_ref(), "--svg".as_ref(), svg.as_ref()];
        Files::open(&Cli::parse_from(args).args)
    };
    open(&json, &svg).unwrap();
    assert_eq!((fs::read_to_string(&json).unwrap().as_str(), svg.exists()), ("{}", false));
    let error = open(&json, folder.path()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
}

#[test]
fn a_rate_is_more_than_nothing() {
    assert_eq!(positive("0.5"), Ok(0.5));
    for rate in ["0", "-1", "inf", "many"] {
        assert!(positive(rate).is_err(), "{rate}");
    }
}

#[test]
fn a_lead_is_no_longer_than_an_hour() {
    assert_eq!(["0", "0.5"].map(seconds), [0, 500].map(|millis| Ok(Duration::from_millis(millis))));
    for lead in ["-1", "3601", "NaN", "inf", "many"] {
        assert!(seconds(lead).is_err(), "{lead}");
    }
}
