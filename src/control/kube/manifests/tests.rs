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
fn strict_reading_names_every_fault() {
    let text = |text: &str| ("stdin".to_owned(), text.to_owned());
    assert_eq!(read(&Access::Inline(vec![text(SERVICE)])).unwrap().len(), 6);
    let faults = read(&Access::Inline(vec![text("a: ["), text("{\"a\": ")])).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert!(read(&Access::Manifests("/nowhere/at/all".into())).unwrap_err()[0].reason.contains("folder"));
    assert!(read(&Access::InCluster).is_err());
}
