//! Reading folders and texts of manifests, and following a folder.

use super::*;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";

fn names(objects: &[Object]) -> Vec<String> {
    objects.iter().map(|object| format!("{} {}", object.kind(), object.name())).collect()
}

#[test]
fn a_broken_file_keeps_what_it_last_said_and_a_deleted_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.yaml", SERVICE);
    write("b.yml", &SERVICE.replace("web", "shop"));
    write(".hidden.yaml", SERVICE);
    write("notes.txt", "not a manifest");
    let mut folder = Folder::new(dir.path());
    let (objects, faults) = folder.read().unwrap();
    assert_eq!((names(&objects), faults.len()), (vec!["Service default/web".into(), "Service default/shop".into()], 0));
    write("a.yaml", "kind: Service\nmetadata: {name: [\n");
    let (objects, faults) = folder.read().unwrap();
    assert_eq!(objects.len(), 2);
    assert!(faults[0].place.contains("a.yaml:"), "{}", faults[0]);
    std::fs::remove_file(dir.path().join("a.yaml")).unwrap();
    let (objects, faults) = folder.read().unwrap();
    assert_eq!((names(&objects), faults.len()), (vec!["Service default/shop".into()], 0));
}

#[test]
fn objects_without_a_line_between_them_are_told_so() {
    let fault = parse::parse("all.yaml", &format!("{SERVICE}{SERVICE}")).unwrap_err();
    assert_eq!(
        (fault.place.as_str(), fault.reason.as_str()),
        ("all.yaml:5", "apiVersion is written twice in one object; keep one, or put a line --- between two objects")
    );
}

#[test]
fn a_file_that_is_emptied_keeps_what_it_last_said() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(dir.path().join("all.yaml"), text).unwrap();
    let mut folder = Folder::new(dir.path());
    write("# nothing yet\n");
    let (objects, faults) = folder.read().unwrap();
    assert_eq!((objects.len(), faults.len()), (0, 0), "a file that never said anything may go on so");
    write(SERVICE);
    assert_eq!(folder.read().unwrap().0.len(), 1);
    for empty in ["", "\n", "---\n# all gone\n---\n"] {
        write(empty);
        let (objects, faults) = folder.read().unwrap();
        assert_eq!((objects.len(), faults.len()), (1, 1), "{empty:?}");
        assert!(faults[0].to_string().contains("all.yaml: is empty; delete it"), "{}", faults[0]);
    }
    write("kind: List\napiVersion: v1\nitems: []\n");
    let (objects, faults) = folder.read().unwrap();
    assert_eq!((objects.len(), faults.len()), (0, 0), "a list of nothing is a word");
}

#[test]
fn strict_reading_names_every_fault() {
    let text = |text: &str| ("stdin".to_owned(), text.to_owned());
    assert_eq!(read(&Access::Inline(vec![text(SERVICE)])).unwrap().len(), 8);
    let faults = read(&Access::Inline(vec![text("a: ["), text("{\"a\": ")])).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert!(read(&Access::Manifests("/nowhere/at/all".into())).unwrap_err()[0].reason.contains("folder"));
    assert!(read(&Access::InCluster).is_err());
}

/// Everything heard up to the word on faults, which ends each reading.
async fn reading(changes: &mut tokio::sync::mpsc::Receiver<Change>) -> (Vec<Object>, Vec<Fault>) {
    let mut all = Vec::new();
    loop {
        match changes.recv().await {
            Some(Change::Replace { objects, .. }) => all.extend(objects),
            Some(Change::Faults(faults)) => return (all, faults),
            other => panic!("not of a reading: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_folder_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.yaml", SERVICE);
    let (sender, mut changes) = tokio::sync::mpsc::channel(16);
    let source = std::sync::Arc::<crate::model::live::control::SourceState>::default();
    let following = follow::follow(dir.path(), sender, source.clone());
    let story = async {
        assert_eq!(names(&reading(&mut changes).await.0), ["Service default/web"]);
        write("b.yaml", &SERVICE.replace("web", "shop"));
        // A reading may come between the making of the file and its text.
        while names(&reading(&mut changes).await.0) != ["Service default/web", "Service default/shop"] {}
        assert!(source.is_up());
        write("b.yaml", "a: [");
        let faults = loop {
            let (objects, faults) = reading(&mut changes).await;
            if !faults.is_empty() {
                assert_eq!(objects.len(), 2, "what the file last said stays");
                break faults;
            }
        };
        assert!(faults[0].place.contains("b.yaml:1"), "{}", faults[0]);
        // The word on the source follows that on the faults.
        while source.is_up() {
            tokio::task::yield_now().await;
        }
        assert!(source.detail().contains("b.yaml"));
    };
    tokio::select! {
        () = following => panic!("it ends only when nobody listens"),
        told = tokio::time::timeout(std::time::Duration::from_secs(20), story) => told.unwrap(),
    }
}
