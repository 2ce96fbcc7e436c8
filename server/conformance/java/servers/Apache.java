import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.concurrent.CountDownLatch;

import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.broker.BrokerStartup;
import org.apache.rocketmq.namesrv.NamesrvStartup;
import org.apache.rocketmq.remoting.exception.RemotingException;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Apache's own servers, of either release, in one JVM: "Apache HOME namesrv CONFIG", "Apache HOME broker CONFIG", or
 * both one after the other. Prints "ready" when all stand.
 */
public final class Apache {
    public static void main(String[] arguments) throws Exception {
        Path home = Paths.get(arguments[0]);
        System.setProperty("rocketmq.home.dir", home.toString());
        System.setProperty("user.home", home.toString());
        try {
            for (int i = 1; i < arguments.length; i += 2) {
                if (arguments[i].equals("namesrv")) {
                    NamesrvStartup.main0(new String[] {"-c", arguments[i + 1]});
                } else {
                    registered(BrokerStartup.start(BrokerStartup.createBrokerController(new String[] {"-c", arguments[i + 1]})));
                }
            }
        } catch (Exception e) {
            e.printStackTrace();
            System.exit(1); // what was started so far would keep the process
        }
        System.out.println("ready");
        System.out.flush();
        new CountDownLatch(1).await(); // until we are stopped from outside
    }

    /** The broker says that it stands before its name server knows it; wait for that, and help it along. */
    private static void registered(BrokerController broker) throws Exception {
        String name = broker.getBrokerConfig().getBrokerName();
        DefaultMQAdminExt admin = new DefaultMQAdminExt(5_000);
        admin.setNamesrvAddr(broker.getBrokerConfig().getNamesrvAddr());
        admin.setInstanceName("ready");
        admin.start();
        try {
            Exception why = null;
            for (int i = 0; i < 100; i++) {
                try {
                    broker.registerBrokerAll(true, false, true);
                    var known = admin.examineBrokerClusterInfo(); // each release has a package of its own for it
                    if (known.getBrokerAddrTable() != null && known.getBrokerAddrTable().containsKey(name)) {
                        return;
                    }
                } catch (RemotingException e) {
                    why = e; // on a machine that is busy a first connection may take its time
                }
                Thread.sleep(100);
            }
            throw new IllegalStateException(name + " is not registered", why);
        } finally {
            admin.shutdown();
        }
    }
}
