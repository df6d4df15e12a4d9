// A node-opcua server (MIT) for tests, on the loopback: node opcua_server.js PORT TAGS FOLDER ; ends by itself after 300 s.
// T0..Tn change at 20 Hz, Still never does, Bad goes round Bad, Uncertain and Good, Text is no number;
// Wave is an array that begins with its number and is new 5 times a second, Last one that never changes, Words one of
// strings, Photo a picture (PGM) as a ByteString. Valve, Ratio and Beat may be written, Locked may not, Deaf says yes and stays 0; user op / secret.
const path = require("path");
const load = (name) => require(path.join(process.env.OPCUA_MODULES, name));
const { OPCUAServer } = load("node-opcua-server");
const { Variant, DataType, VariantArrayType } = load("node-opcua-variant");
const { StatusCodes } = load("node-opcua-status-code");
const { OPCUACertificateManager } = load("node-opcua-certificate-manager");
const [port, tags, folder, version] = [+process.argv[2], +process.argv[3], process.argv[4], process.argv[5] || "1.0"];
(async () => {
  const certificates = new OPCUACertificateManager({ automaticallyAcceptUnknownCertificate: true, rootFolder: folder });
  await certificates.initialize();
  const server = new OPCUAServer({
    port, hostname: "127.0.0.1", host: "127.0.0.1", alternateHostname: ["127.0.0.1", "localhost"],
    serverCertificateManager: certificates, userCertificateManager: certificates,
    buildInfo: { productName: "Press", softwareVersion: version },
    userManager: { isValidUser: (user, password) => user === "op" && password === "secret" },
  });
  await server.initialize();
  const space = server.engine.addressSpace.getOwnNamespace();
  const plant = space.addObject({ organizedBy: server.engine.addressSpace.rootFolder.objects, browseName: "Plant" });
  const variable = (name, dataType, value) => space.addVariable({
    componentOf: plant, browseName: name, nodeId: "s=" + name, dataType, minimumSamplingInterval: 20,
    ...(value === undefined ? {} : { value: new Variant({ dataType: DataType[dataType], value }) }),
  });
  const moving = [...Array(tags).keys()].map((at) => variable("T" + at, "Double"));
  const bad = variable("Bad", "Double");
  variable("Still", "Double", 7);
  variable("Text", "String", "idle");
  for (const [name, dataType] of [["Valve", "UInt16"], ["Ratio", "Float"], ["Beat", "Byte"]]) variable(name, dataType, 0);
  const deaf = () => new Variant({ dataType: DataType.Int32, value: 0 });
  const stubborn = { componentOf: plant, browseName: "Deaf", nodeId: "s=Deaf", dataType: "Int32" };
  space.addVariable({ ...stubborn, value: { get: deaf, set: () => StatusCodes.Good } });
  const locked = { componentOf: plant, browseName: "Locked", nodeId: "s=Locked", dataType: "Double" };
  space.addVariable({ ...locked, accessLevel: "CurrentRead", value: new Variant({ dataType: DataType.Double, value: 1 }) });
  const array = (name, dataType) => space.addVariable({
    componentOf: plant, browseName: name, nodeId: "s=" + name, dataType, valueRank: 1, minimumSamplingInterval: 20,
  });
  const fill = (node, dataType, value) =>
    node.setValueFromSource({ dataType: DataType[dataType], arrayType: VariantArrayType.Array, value });
  const wave = array("Wave", "Float");
  fill(array("Last", "Int16"), "Int16", Int16Array.from([3, 2, 1]));
  fill(array("Words", "String"), "String", ["a", "b"]);
  variable("Photo", "ByteString", Buffer.from("P5 2 2 255\n\x00\x10\x20\x30", "latin1"));
  let count = 0;
  const states = [StatusCodes.BadSensorFailure, StatusCodes.UncertainLastUsableValue, StatusCodes.Good];
  const tick = () => {
    count++;
    moving.forEach((each, at) => each.setValueFromSource({ dataType: DataType.Double, value: at + (count % 100) / 1000 }));
    if (count % 4 === 1) fill(wave, "Float", Float32Array.from({ length: 2048 }, (_, at) => at || count));
    bad.setValueFromSource({ dataType: DataType.Double, value: 1 }, states[Math.floor(count / 5) % 3]);
  };
  tick();
  setInterval(tick, 50);
  await server.start();
  setTimeout(() => process.exit(0), 300000);
})().catch((error) => { console.error(error); process.exit(1); });
